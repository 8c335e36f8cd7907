//! What do operators see?

use crate::support::sample::{self, READER};
use crate::support::{TestClient, TestGateway};

#[test]
fn four_pages_and_nothing_else_are_there_to_be_read() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway
        .client_with(READER)
        .get("/api/v2/shop/_table/customer")
        .expect_ok();

    assert_eq!(gateway.operations("/livez").status, 200);
    let ready = gateway.operations("/readyz");
    assert_eq!(ready.status, 200);
    assert!(ready.text().starts_with("ready g1-"), "{}", ready.text());

    let status = gateway.status();
    let members: Vec<&str> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for member in [
        "generation",
        "digest",
        "commit",
        "dirty",
        "loaded_at",
        "degraded",
        "last_attempt",
        "services",
    ] {
        assert!(members.contains(&member), "no {member} in {members:?}");
    }
    assert_eq!(status["generation"], 1);
    assert_eq!(status["digest"].as_str().unwrap().len(), 64);
    assert_eq!(status["services"][0]["name"], "shop");
    assert_eq!(status["services"][0]["type"], "sqlite");
    assert_eq!(status["services"][0]["active"], true);
    assert_eq!(status["services"][0]["health"], "up");

    let metrics = gateway.operations("/metrics");
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    for name in [
        "tidegate_requests_total{service=\"shop\"",
        "tidegate_request_duration_seconds_bucket",
        "tidegate_requests_in_flight ",
        "tidegate_last_reload_successful 1",
        "tidegate_generation 1",
        "tidegate_reloads_total{outcome=\"applied\"} 1",
        "tidegate_revision_info{revision=\"g1-",
        "tidegate_service_up{service=\"shop\"} 1",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    check_exposition(&text);

    let client = TestClient::new(gateway.operations).unchecked();
    for path in [
        "/",
        "/config",
        "/reload",
        "/api/v2/shop",
        "/metrics/x",
        "/debug/pprof",
    ] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        assert_eq!(client.request("HEAD", path).send().status, 200, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = client.request(method, path).send();
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").unwrap().contains("GET"));
        }
    }
    // And the API has none of them.
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        assert_eq!(gateway.client_with(READER).get(path).status, 404, "{path}");
    }
    gateway.stop();
}

/// Every sample belongs to a family that was introduced, no line comes twice, and the text ends as it must.
fn check_exposition(text: &str) {
    assert!(text.ends_with("# EOF\n"));
    let mut families = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families.push(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "twice: {line}");
            let name = series.split('{').next().unwrap();
            assert!(
                families
                    .iter()
                    .any(|family| name.starts_with(family.as_str())),
                "{line}"
            );
        }
    }
}

#[test]
fn no_secret_shows_anywhere() {
    let directory = sample::shop_with(
        "[service.remote]\ntype = \"pgsql\"\n[service.remote.config]\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"d\"\nusername = \"u\"\npassword = { plain = \"hunter2-must-not-show\" }\n",
    );
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("backend");
    let client = gateway.client_with(READER);
    let down = client.get("/api/v2/remote/_table/x");
    assert_eq!(down.status, 503, "{}", down.text());
    let mut shown = String::new();
    for path in ["/status", "/metrics", "/readyz"] {
        shown.push_str(&gateway.operations(path).text());
    }
    for path in ["/api/v2", "/api/v2/api_docs", "/api/v2/api_docs/remote"] {
        shown.push_str(&client.get(path).text());
    }
    shown.push_str(&down.text());
    shown.push_str(&gateway.log());
    for secret in ["hunter2", READER] {
        assert!(!shown.contains(secret), "{secret} shows");
    }
    gateway.stop();
}
