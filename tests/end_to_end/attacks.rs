//! What does somebody get who tries? Each test is one way to ask for what a role does not admit.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::client::{Answer, TestClient, encode, read_answer};
use crate::support::sample::{self, ADMIN, READER, key};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
const TAG: &str = "/api/v2/shop/_table/tag";
const NORTH: &str = "key-of-the-north-0123456789abcdef";
const SOUTH: &str = "key-of-the-south-0123456789abcdef";
const GUARDED: &str = "key-that-may-not-see-secrets-0123456789";
const INSERTER: &str = "key-that-may-only-insert-0123456789";
/// What the table that `guarded` may not see holds.
const TREASURE: &str = "xyzzy";

fn start() -> (WatchedDirectory, TestGateway) {
    let mut manifest = String::from(
        r#"
[role.guarded]
[[role.guarded.access]]
service = "shop"
component = "*"
verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]
[[role.guarded.access]]
service = "shop"
component = "_table/secret/*"
verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]
deny = true
[[role.guarded.access]]
service = "shop"
component = "_schema/secret/*"
verbs = ["GET"]
deny = true

[role.inserter]
[[role.inserter.access]]
service = "shop"
component = "_table/tag/*"
verbs = ["POST"]
"#,
    );
    manifest.extend(["north", "south"].map(|region| {
        format!(
            "[role.{region}]\n[[role.{region}.access]]\nservice = \"shop\"\ncomponent = \"_table/customer/*\"\nverbs = [\"GET\", \"POST\", \"PATCH\", \"DELETE\"]\nfilter = \"owner = '{region}'\"\n"
        )
    }));
    for (name, text) in [
        ("north", NORTH),
        ("south", SOUTH),
        ("guarded", GUARDED),
        ("inserter", INSERTER),
    ] {
        manifest.push_str(&key(name, name, text));
    }
    let directory = sample::shop_with(&manifest);
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

/// What an answer says, without what differs from request to request.
fn said(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    body["error"]["request_id"] = Value::Null;
    (answer.status, body)
}

#[test]
fn no_spelling_of_a_path_reaches_a_denied_table() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(GUARDED);
    gateway
        .client_with(ADMIN)
        .get("/api/v2/shop/_table/secret/1")
        .expect_ok();
    for path in [
        "/api/v2/shop/_table/secret",
        "/api/v2/shop/_table/secret/",
        "/api/v2/shop/_table/secret/1",
        "/api/v2/shop/_table/SECRET/1",
        "/api/v2/SHOP/_table/sEcReT",
        "/api/shop/_table/secret",
        "/api/v2.0/shop/_table/secret",
        "/api/v2/shop/_table/%73ecret/1",
        "/api/v2/shop/%5ftable/%53%45%43%52%45%54/1",
        "/api/v2/shop/_table//secret",
        "/api/v2/shop//_table/secret",
        "/api/v2/shop/_table/./secret",
        "/api/v2/shop/_table/%2e/secret",
        "/api/v2/shop/_table/tag/../secret",
        "/api/v2/shop/_table/tag/%2e%2e/secret",
        "/api/v2/shop/_table/tag/..%2fsecret",
        "/api/v2/shop/_table%2fsecret",
        "/api/v2/shop%2f_table%2fsecret",
        "/api/v2/shop/_table/secret%2f1",
        "/api/v2/shop/_table/secret%00",
        "/api/v2/shop/_table/%C5%BFecret",
        "/api/v2/shop/_table/secret%20",
        "/api/v2/shop/_table/main.secret",
        "/api/v2/shop/_table/%22secret%22",
        "/api/v2/shop/_table/secret;x=1/1",
        "/api/v2/shop/_TABLE/secret/1",
        "/api/v2/shop/_schema/secret",
        "/api/v2/shop/_schema/SECRET/word",
        "/api/v2/shop/_schema?ids=secret",
        "/API/v2/shop/_table/secret",
    ] {
        for method in ["GET", "HEAD", "POST", "PATCH", "DELETE"] {
            let mut request = client.request(method, path);
            if method != "GET" && method != "HEAD" {
                request = request.json(&json!({"resource": [{"word": "overwritten"}]}));
            }
            let answer = request.send();
            assert!(
                (400..500).contains(&answer.status),
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            assert!(!answer.text().contains(TREASURE), "{}", answer.text());
        }
    }
    for path in [
        "/api/v2/api_docs/shop",
        "/api/v2/api_docs",
        "/api/v2/shop/_table?fields=*",
    ] {
        let text = client.get(path).expect_ok().text();
        assert!(!text.contains("secret\""), "{path}: {text}");
    }
    let all = gateway.client_with(ADMIN).get("/api/v2/shop/_table/secret");
    assert_eq!(all.records().len(), 1);
    assert!(all.text().contains(TREASURE));
    gateway.stop();
}

#[test]
fn a_tunnelled_method_needs_the_grant_of_the_method_it_means() {
    let (_directory, gateway) = start();
    let record = json!({"resource": [{"id": 1, "label": "x"}]});
    let reader = gateway.client_with(READER);
    for name in [
        "X-HTTP-Method",
        "X-Method-Override",
        "X-HTTP-Method-Override",
    ] {
        for method in ["DELETE", "delete", "PUT", "PATCH", "MERGE", "POST"] {
            let answer = reader
                .request("POST", &format!("{TAG}?force=true"))
                .header(name, method)
                .json(&record)
                .send();
            answer.expect_error(403, "forbidden");
            let answer = reader
                .request("POST", &format!("{TAG}?force=true&method={method}"))
                .json(&record)
                .send();
            answer.expect_error(403, "forbidden");
            // Only a POST is a tunnel: this stays what it is.
            let answer = reader
                .request("GET", &format!("{TAG}/1?method={method}"))
                .header(name, method)
                .send();
            assert_eq!(answer.json()["label"], "paid");
        }
    }
    let inserter = gateway.client_with(INSERTER);
    for answer in [
        inserter
            .request("POST", TAG)
            .header("X-HTTP-Method", "GET")
            .send(),
        inserter
            .request("POST", &format!("{TAG}?upsert=true"))
            .json(&record)
            .send(),
        inserter.request("GET", TAG).send(),
        inserter.request("HEAD", TAG).send(),
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(!answer.text().contains("paid"));
    }
    let twice = reader
        .request("POST", TAG)
        .header("X-HTTP-Method", "GET")
        .header("X-Method-Override", "DELETE")
        .send();
    assert!(twice.status == 200 || twice.status >= 400);
    assert_eq!(
        reader.query(TAG, &[("count_only", "true")]).json(),
        2,
        "nothing was deleted"
    );
    gateway.stop();
}

#[test]
fn a_hidden_row_answers_like_one_that_is_not_there() {
    let (_directory, gateway) = start();
    let north = gateway.client_with(NORTH);
    let admin = gateway.client_with(ADMIN);
    let tag = admin
        .get(&format!("{CUSTOMER}/3"))
        .header("etag")
        .unwrap()
        .to_owned();
    let conditions: [&[(&str, &str)]; 5] = [
        &[],
        &[("If-Match", "*")],
        &[("If-None-Match", "*")],
        &[("If-Match", &tag)],
        &[("If-None-Match", &tag)],
    ];
    for method in ["GET", "HEAD", "PATCH", "DELETE"] {
        for headers in conditions {
            let ask = |id: &str| {
                let mut request = north.request(method, &format!("{CUSTOMER}/{id}"));
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if method == "PATCH" {
                    request = request.json(&json!({"full_name": "x"}));
                }
                let answer = request.send();
                if method == "HEAD" {
                    return (answer.status, Value::Null);
                }
                let (status, body) = said(&answer);
                let text = body.to_string().replace(&format!("'{id}'"), "'ID'");
                (status, Value::String(text))
            };
            assert_eq!(ask("3"), ask("777"), "{method} {headers:?}");
            assert_eq!(ask("3").0, 404, "{method} {headers:?}");
        }
    }
    // A key that is taken can not be taken again: that much every unique key tells. Nothing else is told or done.
    let answer = north.send_json(
        "POST",
        CUSTOMER,
        &json!({"resource": [{"id": 3, "email": "new@example.org", "owner": "north"}]}),
    );
    assert_eq!(
        answer.json()["error"]["context"]["resource"][0]["status_code"],
        409
    );
    assert!(!answer.text().contains("south") && !answer.text().contains("cy@"));
    let upsert = north.send_json(
        "POST",
        &format!("{CUSTOMER}?upsert=true&fields=*"),
        &json!({"resource": [{"id": 3, "email": "new@example.org", "owner": "north"}]}),
    );
    assert_eq!(upsert.status, 400, "{}", upsert.text());
    assert!(!upsert.text().contains("cy@"), "{}", upsert.text());
    let untouched = admin.get(&format!("{CUSTOMER}/3")).json();
    assert_eq!(untouched["email"], "cy@example.org");
    assert_eq!(untouched["owner"], "south");
    gateway.stop();
}

#[test]
fn a_cursor_shows_nobody_anothers_rows() {
    let (_directory, gateway) = start();
    let cursor = |key: &str| {
        let page = gateway
            .client_with(key)
            .query(CUSTOMER, &[("limit", "1"), ("order", "email DESC")]);
        let cursor = page.expect_ok().json()["meta"]["next_cursor"].clone();
        cursor.as_str().unwrap().to_owned()
    };
    let mine = cursor(SOUTH);
    let others = cursor(NORTH);
    for (key, owner) in [(NORTH, "north"), (SOUTH, "south")] {
        let client = gateway.client_with(key);
        for cursor in [&mine, &others] {
            let page = client.query(CUSTOMER, &[("order", "email DESC"), ("cursor", cursor)]);
            for record in page.records() {
                assert_eq!(record["owner"], owner);
            }
            for (option, value) in [("filter", "id > 0"), ("order", "email"), ("order", "owner")] {
                let mut options = vec![("order", "email DESC"), ("cursor", cursor.as_str())];
                options.retain(|(name, _)| *name != option);
                options.push((option, value));
                client
                    .query(CUSTOMER, &options)
                    .expect_error(400, "invalid_cursor");
            }
        }
    }
    gateway.stop();
}

#[test]
fn the_log_keeps_its_lines_and_no_keys() {
    let (_directory, gateway) = start();
    let forged = "a\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n\u{1b}[2Jb";
    let client = gateway.client_with(READER);
    client.get(&format!("/api/v2/shop/_table/{}", encode(forged)));
    client.get(&format!("/api/v2/shop/_table/tag/{}", encode(forged)));
    client.query(CUSTOMER, &[("filter", forged), ("api_key", ADMIN)]);
    client.query(CUSTOMER, &[("fields", forged)]);
    client
        .request("GET", CUSTOMER)
        .header("User-Agent", "\u{9b}31m forged")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("Forwarded", "for=203.0.113.7")
        .header("X-Request-Id", "forged")
        .send();
    gateway
        .client()
        .get(&format!("{CUSTOMER}?api_key={ADMIN}"))
        .expect_error(401, "unauthenticated");
    let log = crate::support::eventually("six closing lines", 10, || {
        let log = gateway.log();
        (log.matches("\"request.id\"").count() >= 6).then_some(log)
    });
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of the log is one document");
        assert_ne!(line["message"], "forged");
        if line["message"] == "request" {
            assert_eq!(
                line["client.address"], "127.0.0.1",
                "nobody is trusted to say otherwise"
            );
        }
    }
    for secret in [ADMIN, READER, "203.0.113.7"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert!(!log.contains(|character: char| character.is_control() && character != '\n'));
    gateway.stop();
}

/// Sends bytes, and gives the statuses of all answers until the gateway closes.
fn statuses(client: &TestClient, bytes: &[u8]) -> Vec<u16> {
    let mut stream = client.connect();
    let _ = stream.write_all(bytes);
    let mut reader = BufReader::new(stream);
    let mut statuses = Vec::new();
    while reader.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
        let Some(answer) = read_answer(&mut reader, false) else {
            break;
        };
        statuses.push(answer.status);
    }
    statuses
}

#[test]
fn no_request_hides_within_another() {
    let (_directory, gateway) = start();
    let client = gateway.client();
    let smuggled =
        format!("DELETE {TAG}?force=true HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADMIN}\r\n\r\n");
    let head = format!(
        "POST {TAG} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\nContent-Type: application/json\r\n"
    );
    let length = smuggled.len();
    for framing in [
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        "Content-Length: +0\r\n".to_owned(),
        "Content-Length: 0x0\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        "Content-Length : 0\r\n".to_owned(),
        "Content-Length:\r\n 0\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: identity, chunked, identity\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
    ] {
        let bytes = format!("{head}{framing}\r\n{smuggled}");
        let statuses = statuses(&client, bytes.as_bytes());
        assert_eq!(statuses, [400], "{framing:?}");
    }
    // Whoever sends both lengths is answered by the chunks, once, and hung up on (RFC 9112 section 6.3).
    for chunks in ["0\r\n\r\n", "0;x=\"\r\n\r\n\"\r\n\r\n"] {
        let bytes = format!(
            "{head}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}",
            chunks.len() + length
        );
        let statuses = statuses(&client, bytes.as_bytes());
        assert!(
            statuses.len() == 1 && statuses[0] >= 400,
            "{chunks:?}: {statuses:?}"
        );
    }
    // A body is never a request, also where the verb takes none.
    let get = format!(
        "GET {TAG}/1 HTTP/1.1\r\nHost: x\r\nX-API-Key: {READER}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{smuggled}"
    );
    assert_eq!(statuses(&client, get.as_bytes()).len(), 1);
    let reader = gateway.client_with(READER);
    assert_eq!(reader.query(TAG, &[("count_only", "true")]).json(), 2);
    gateway.stop();
}

#[test]
fn no_body_is_inflated() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for coding in ["gzip", "br", "deflate", "zstd", "x-gzip", "identity, gzip"] {
        client
            .request("POST", TAG)
            .header("Content-Encoding", coding)
            .body(
                "application/json",
                br#"{"resource":[{"label":"x"}]}"#.as_slice(),
            )
            .send()
            .expect_error(415, "unsupported_media_type");
    }
    client
        .request("POST", TAG)
        .header("Content-Encoding", "identity")
        .body(
            "application/json",
            br#"{"resource":[{"label":"x"}]}"#.as_slice(),
        )
        .send()
        .expect_ok();
    gateway.stop();
}

#[test]
fn what_needs_no_key_tells_nothing() {
    let (_directory, gateway) = start();
    let client = gateway.client();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in [
            "/api/v2",
            "/api/v2/shop",
            "/api/v2/shop/_table/customer/1",
            "/api/v2/nothing",
            "/api/v2/api_docs",
            "/api/v2/api_docs/shop",
        ] {
            let answer = client.request(method, path).send();
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(!answer.text().contains("shop"), "{}", answer.text());
        }
    }
    for path in [
        "/",
        "/docs",
        "/docs/",
        "/docs/page.js",
        "/docs/../api/v2",
        "/docs/%2e%2e/api/v2",
    ] {
        let text = client.get(path).text();
        assert!(!text.contains("customer"), "{path}");
    }
    gateway.stop();
}

#[test]
fn the_operations_listener_takes_no_orders() {
    let (_directory, gateway) = start();
    let client = TestClient::new(gateway.operations).unchecked();
    let before = gateway.status()["generation"].clone();
    for method in [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE",
    ] {
        for path in [
            "/status",
            "/readyz",
            "/livez",
            "/metrics",
            "/reload",
            "/api/v2/shop/_table/tag",
        ] {
            let answer = client
                .request(method, path)
                .header("X-API-Key", ADMIN)
                .header("X-HTTP-Method", "GET")
                .json(&json!({"drain": true, "resource": []}))
                .send();
            assert!(
                answer.status == 405 || answer.status == 404,
                "{method} {path}: {}",
                answer.status
            );
        }
    }
    for path in [
        "/status/",
        "/status/../metrics",
        "//status",
        "/STATUS",
        "/status%2f",
        "/metrics;x",
    ] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(gateway.operations("/readyz").status, 200);
    assert_eq!(gateway.status()["generation"], before);
    gateway.stop();
}

#[test]
fn a_very_long_head_is_refused_and_the_next_caller_served() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(READER);
    let many = "X-Many: x\r\n".repeat(500);
    let long = format!("X-Long: {}\r\n", "a".repeat(300_000));
    for headers in [many, long] {
        let bytes = format!("GET {TAG} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        assert!(
            statuses(&client, bytes.as_bytes())
                .iter()
                .all(|status| *status == 431)
        );
    }
    let id = "9".repeat(10_000);
    for path in [
        format!("{TAG}/{id}"),
        format!("{TAG}/{}", "a=1,".repeat(2_000)),
    ] {
        let answer = client.get(&path);
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    let options = "a=1&".repeat(2_000);
    assert_eq!(client.get(&format!("{TAG}?{options}")).status, 400);
    let mut rest = Vec::new();
    let mut slow = client.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    slow.read_to_end(&mut rest).unwrap();
    client.get(TAG).expect_ok();
    gateway.stop();
}
