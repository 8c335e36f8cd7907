//! What does a caller who made a mistake get to hear?

use serde_json::json;

use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn what_is_not_there_is_404() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (path, kind) in [
        ("/api/v2/absent", "unknown_service"),
        ("/api/v2/shop/_table/custmer", "unknown_table"),
        ("/api/v2/shop/_table/customer/99", "unknown_record"),
        ("/api/v2/shop/_schema/custmer", "unknown_table"),
        ("/api/v2/shop/_nothing", "unknown_resource"),
        ("/api/v2/shop/_table/customer/1/x/y", "unknown_resource"),
    ] {
        client.get(path).expect_error(404, kind);
    }
    let misspelt = client.get("/api/v2/shop/_table/custmer").error_text();
    assert!(misspelt.contains("customer"), "no did-you-mean: {misspelt}");
    for path in ["/apis", "/index.html", "/favicon.ico", "/api/v2x"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    gateway.stop();
}

#[test]
fn a_method_that_a_resource_does_not_take_is_405_with_allow() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (method, path) in [
        ("POST", "/api/v2/shop/_table"),
        ("DELETE", "/api/v2/shop"),
        ("POST", "/api/v2/shop/_table/customer/1"),
        ("PUT", "/api/v2"),
    ] {
        let answer = client
            .request(method, path)
            .json(&json!({"resource": []}))
            .send();
        answer.expect_error(405, "method_not_allowed");
        let allow = answer.header("allow").unwrap();
        assert!(allow.contains("GET"), "{path}: {allow}");
        assert!(!allow.contains(method), "{path}: {allow}");
    }
    for method in ["TRACE", "CONNECT", "BREW"] {
        let answer = client.request(method, CUSTOMER).send_that_may_break();
        if let Some(answer) = answer {
            assert!(
                (400..502).contains(&answer.status),
                "{method}: {}",
                answer.status
            );
        }
    }
    gateway.stop();
}

#[test]
fn what_cannot_be_produced_is_406_and_what_cannot_be_read_is_415() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for accept in [
        "image/png",
        "application/pdf, image/*",
        "application/json;q=0",
    ] {
        let answer = client
            .request("GET", CUSTOMER)
            .header("Accept", accept)
            .send();
        answer.expect_error(406, "not_acceptable");
    }
    for media_type in [
        "application/pdf",
        "multipart/form-data; boundary=x",
        "nonsense",
    ] {
        let answer = client
            .request("POST", CUSTOMER)
            .body(media_type, "{}")
            .send();
        answer.expect_error(415, "unsupported_media_type");
    }
    gateway.stop();
}

#[test]
fn bodies_targets_and_heads_have_limits() {
    let directory = sample::shop_with("[gateway]\nmax_body_bytes = 65536\n");
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(ADMIN);
    let large = json!({"resource": [{"email": "x".repeat(70_000)}]});
    let answer = client.send_json("POST", CUSTOMER, &large);
    answer.expect_error(413, "payload_too_large");

    // The same without Content-Length.
    let chunk = "x".repeat(0x4000);
    let request = format!(
        "POST {CUSTOMER} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADMIN}\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("4000\r\n{chunk}\r\n").repeat(8)
    );
    if let Some(answer) = client.raw(request.as_bytes()) {
        answer.expect_error(413, "payload_too_large");
    }

    let long = format!("{CUSTOMER}?filter={}", "a".repeat(80_000));
    let answer = client.request("GET", &long).send_that_may_break();
    if let Some(answer) = answer {
        assert!(
            matches!(answer.status, 414 | 431 | 400),
            "{}",
            answer.status
        );
    }
    let answer = client
        .request("GET", CUSTOMER)
        .header("X-Large", &"h".repeat(2_000_000))
        .send_that_may_break();
    if let Some(answer) = answer {
        assert!(matches!(answer.status, 431 | 400), "{}", answer.status);
    }
    // It still serves.
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn options_and_columns_that_do_not_exist_are_named_with_a_neighbour() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (option, value, kind, word) in [
        ("filtr", "id = 1", "unknown_parameter", "filter"),
        ("limt", "1", "unknown_parameter", "limit"),
        ("fields", "id,emial", "unknown_field", "email"),
        ("order", "emial desc", "unknown_field", "email"),
        ("filter", "emial = 'x'", "unknown_field", "email"),
        ("group", "emial", "unknown_field", "email"),
        (
            "related",
            "invoce_by_customer_id",
            "unknown_relation",
            "invoice_by_customer_id",
        ),
    ] {
        let answer = client.query(CUSTOMER, &[(option, value)]);
        answer.expect_error(400, kind);
        let text = answer.error_text();
        assert!(text.contains(word), "{option}={value}: {text}");
    }
    client.query(CUSTOMER, &[("_", "1722")]).expect_ok();
    gateway.stop();
}

#[test]
fn options_with_impossible_values_are_refused() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (option, value) in [
        ("limit", "-1"),
        ("limit", "many"),
        ("offset", "-1"),
        ("offset", "x"),
        ("include_count", "perhaps"),
        ("order", "id sideways"),
        ("ids", ""),
    ] {
        let answer = client.query(CUSTOMER, &[(option, value)]);
        assert_eq!(answer.status, 400, "{option}={value}: {}", answer.text());
    }
    client.query(CUSTOMER, &[("limit", "0")]).expect_ok();
    client.query(CUSTOMER, &[("limit", "1000000")]).expect_ok();
    client
        .query(CUSTOMER, &[("cursor", "AAAA")])
        .expect_error(400, "invalid_cursor");
    gateway.stop();
}

#[test]
fn an_error_follows_accept_where_it_can_and_is_json_otherwise() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for accept in [
        "text/csv",
        "application/x-ndjson",
        "application/json",
        "*/*",
    ] {
        let answer = client
            .request("GET", "/api/v2/shop/_table/absent")
            .header("Accept", accept)
            .send();
        assert_eq!(answer.status, 404, "{accept}");
        assert!(!answer.body.is_empty(), "{accept}");
    }
    gateway.stop();
}
