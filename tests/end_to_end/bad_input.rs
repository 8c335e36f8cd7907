//! What does hostile input do? Each gets its 4xx in the envelope, and nothing moves.

use std::io::{BufReader, Write as _};

use serde_json::json;

use crate::support::client::{encode, read_answer, with_options};
use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

/// Text that has broken out of its quotes somewhere else.
const INJECTIONS: &[&str] = &[
    "' OR '1'='1",
    "1 OR 1=1",
    "1; DROP TABLE customer",
    "1; DROP TABLE customer; --",
    "1 UNION SELECT word FROM secret",
    "(SELECT word FROM secret)",
    "id) FROM customer; DELETE FROM customer; --",
    "\"; DROP TABLE customer; --",
    "`; DROP TABLE customer; --",
    "]; DROP TABLE customer; --",
    "\\'; DROP TABLE customer; --",
    "id/**/OR/**/1=1",
    "sqlite_version()",
    "load_extension('x')",
    "{user.email}",
    "$1",
    "?1",
    "%00",
    "email COLLATE NOCASE",
    "rowid",
];

#[test]
fn no_option_lets_text_become_sql() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let count = || client.query(CUSTOMER, &[("count_only", "true")]).json();
    let before = count();
    for injection in INJECTIONS {
        for option in [
            "fields", "order", "group", "related", "ids", "filter", "id_field", "limit", "cursor",
        ] {
            let answer = client.query(CUSTOMER, &[(option, injection)]);
            assert!(
                !answer.text().contains("xyzzy"),
                "{option}={injection}: {}",
                answer.text()
            );
            assert!(
                answer.status == 200 || (400..500).contains(&answer.status),
                "{option}={injection}: {} {}",
                answer.status,
                answer.text()
            );
        }
        for path in [
            format!("{CUSTOMER}/{}", encode(injection)),
            format!("/api/v2/shop/_table/{}", encode(injection)),
            format!("/api/v2/shop/_schema/{}", encode(injection)),
            format!("/api/v2/{}/_table", encode(injection)),
        ] {
            let answer = client.get(&path);
            assert!(
                (400..500).contains(&answer.status) && !answer.text().contains("xyzzy"),
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
        }
        // As a value it is only a value.
        let target = with_options(
            CUSTOMER,
            &[
                ("filter", "email = :text"),
                ("params", &json!({":text": injection}).to_string()),
            ],
        );
        let answer = client.get(&target);
        assert_eq!(answer.records().len(), 0, "{injection}");
        let quoted = format!("email = '{}'", injection.replace('\'', "''"));
        let answer = client.query(CUSTOMER, &[("filter", &quoted)]);
        if answer.status == 200 {
            assert_eq!(answer.records().len(), 0, "{injection}");
        }
    }
    assert_eq!(count(), before);
    gateway.stop();
}

#[test]
fn hostile_member_names_and_values_of_records_are_only_names_and_values() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for injection in INJECTIONS {
        let mut record = serde_json::Map::new();
        record.insert("email".to_owned(), json!("someone@example.org"));
        record.insert((*injection).to_owned(), json!(1));
        let answer = client.send_json("POST", CUSTOMER, &json!({"resource": [record]}));
        assert_eq!(answer.status, 400, "{injection}: {}", answer.text());
    }
    for (number, injection) in INJECTIONS.iter().enumerate() {
        if injection.contains('{') {
            continue;
        }
        let email = format!("{number} {injection}");
        let answer = client.send_json("POST", CUSTOMER, &json!({"resource": [{"email": email}]}));
        let id = answer.records()[0]["id"].clone();
        let read = client.get(&format!("{CUSTOMER}/{id}")).json();
        assert_eq!(read["email"], email);
    }
    gateway.stop();
}

#[test]
fn filters_have_a_depth_a_length_and_a_grammar() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let deep = format!("{}id = 1{}", "(".repeat(2_000), ")".repeat(2_000));
    let negated = format!("{}(id = 1)", "NOT ".repeat(2_000));
    let many = vec!["(id = 1)"; 1_500].join(" OR ");
    for filter in [
        deep.as_str(),
        negated.as_str(),
        "id > 0) OR (id > 0",
        "(id = 1",
        "id = 1)",
        "id =",
        "= 1",
        "id",
        "id = 1 AND",
        "id = 'open",
        "id IN ()",
        "id IN 1",
        "id BETWEEN 1",
        "id = 1 id = 2",
        "id == 1",
        "id = = 1",
        "AND",
        "()",
        "(SELECT 1)",
        "id = (pg_sleep(9))",
        "id IN (SELECT id FROM secret)",
        "1 = 1",
        "id = id",
        "EXISTS (SELECT 1)",
    ] {
        let answer = client.query(CUSTOMER, &[("filter", filter)]);
        let shown: String = filter.chars().take(60).collect();
        assert!(
            answer.status == 400 || (answer.status == 200 && filter == "id = id"),
            "{shown}: {} {}",
            answer.status,
            answer.text()
        );
    }
    // The same by tunnelling, where no limit on the target helps.
    let answer = client
        .request("POST", CUSTOMER)
        .header("X-HTTP-Method", "GET")
        .json(&json!({"filter": format!("{}id = 1{}", "(".repeat(100_000), ")".repeat(100_000))}))
        .send();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = client
        .request("POST", CUSTOMER)
        .header("X-HTTP-Method", "GET")
        .json(&json!({"filter": many}))
        .send();
    assert!(
        answer.status == 200 || answer.status == 400,
        "{}",
        answer.text()
    );
    // A filter that is no text must never count as no filter.
    for body in [
        json!({"filter": {"id": 1}, "resource": [{"full_name": "x"}]}),
        json!({"filter": ["id = 1"], "resource": [{"full_name": "x"}]}),
        json!({"filter": 1, "resource": [{"full_name": "x"}]}),
        json!({"filter": "", "resource": [{"full_name": "x"}]}),
    ] {
        let answer = client.send_json("PATCH", CUSTOMER, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let names = client.query(CUSTOMER, &[("filter", "full_name = 'x'")]);
    assert_eq!(names.records().len(), 0);
    gateway.stop();
}

#[test]
fn bodies_that_are_no_documents_are_refused_whole() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_member = format!("{{\"resource\":[{{\"email\":\"a@b\",\"full_name\":{deep}}}]}}");
    for body in [
        &b""[..],
        b"{",
        b"{\"resource\":[{\"email\":\"cut@example.org\"},",
        b"[]x",
        b"null",
        b"42",
        b"\"text\"",
        b"{}",
        b"{\"resource\":{}}",
        b"{\"resource\":null}",
        b"{\"resource\":[1,2]}",
        b"{\"resource\":[[]]}",
        b"{\"email\":\"bare@example.org\"}",
        b"\xff\xfe\x00{",
        b"{\"resource\":[{\"email\":\"\xc3\x28\"}]}",
        b"{\"resource\":[{\"email\":\"\\ud800\"}]}",
        deep.as_bytes(),
        deep_member.as_bytes(),
    ] {
        let answer = client
            .request("POST", CUSTOMER)
            .body("application/json", body)
            .send();
        let shown: String = String::from_utf8_lossy(body).chars().take(60).collect();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
    }
    assert_eq!(client.query(CUSTOMER, &[("count_only", "true")]).json(), 4);
    gateway.stop();
}

#[test]
fn values_that_a_column_cannot_hold_are_refused() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (record, status) in [
        (json!({"email": null}), 422),
        (json!({"full_name": "no mail"}), 422),
        (json!({"email": "ann@example.org"}), 409),
        (json!({"email": "neg@example.org", "credit": -1}), 422),
        (
            json!({"email": "word@example.org", "credit": "plenty"}),
            400,
        ),
        (json!({"email": "big@example.org", "id": 1e30}), 400),
        (json!({"email": {"a": 1}}), 400),
        (
            json!({"email": "maybe@example.org", "is_active": "perhaps"}),
            400,
        ),
        (json!({"id": 1, "email": "again@example.org"}), 409),
    ] {
        let answer = client.send_json("POST", CUSTOMER, &json!({"resource": [record.clone()]}));
        answer.expect_error(400, "batch_failed");
        let error = answer.json();
        assert_eq!(error["error"]["code"], 1000, "{error}");
        assert_eq!(error["error"]["context"]["error"], json!([0]), "{error}");
        let inner = &error["error"]["context"]["resource"][0];
        assert_eq!(inner["status_code"], status, "{record}: {error}");
    }
    let bad_reference = json!({"resource": [{"customer_id": 99, "number": "X", "total": 1}]});
    let answer = client.send_json("POST", "/api/v2/shop/_table/invoice", &bad_reference);
    let inner = answer.json()["error"]["context"]["resource"][0].clone();
    assert_eq!(inner["type"], "foreign_key_violation", "{}", answer.text());
    for id in [
        "x",
        "1.5",
        "99999999999999999999",
        "1%2C2",
        "-",
        "%20",
        "'1'",
    ] {
        let answer = client.get(&format!("{CUSTOMER}/{id}"));
        assert!(
            answer.status == 400 || answer.status == 404,
            "{id}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(client.query(CUSTOMER, &[("count_only", "true")]).json(), 4);
    gateway.stop();
}

#[test]
fn targets_that_are_no_text_are_refused() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for target in [
        "/api/v2/shop/_table/customer/%00",
        "/api/v2/shop/_table/cust%00omer",
        "/api/v2/shop/_table/%ff%fe",
        "/api/v2/shop/_table/customer?filter=%ff",
        "/api/v2/shop/_table/customer?filter=email%20%3D%20%27%00%27",
        "/api/v2/shop/_table/customer?%00=1",
    ] {
        client.get(target).expect_error(400, "invalid_request");
    }
    for target in [
        "/api/v2/shop/_table/../_schema",
        "/api/v2/shop/_table/%2e%2e/%2e%2e",
        "/api/v2/shop/_table/customer%2F1",
        "//api/v2/shop",
        "/api/v2//shop/_table",
        "/api/v2/shop/_table//customer",
    ] {
        let answer = client.get(target);
        assert!(
            answer.status < 500 && !answer.text().contains("xyzzy"),
            "{target}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let many = vec!["_=1"; 1_000].join("&");
    client
        .get(&format!("{CUSTOMER}?{many}"))
        .expect_error(400, "invalid_request");
    gateway.stop();
}

#[test]
fn requests_that_are_no_http_do_no_harm() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for bytes in [
        &b"\r\n\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /api/v2/shop/_table/customer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /api/v2 HTTP/1.1\r\nHost: x\r\nX-API-Key: a\0b\r\n\r\n",
        b"GET /api/v2 HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        if let Some(answer) = client.raw(&[bytes, b"\r\n"].concat()) {
            assert!(
                (400..600).contains(&answer.status),
                "{:?}: {}",
                String::from_utf8_lossy(bytes),
                answer.status
            );
        }
    }
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn a_write_without_a_selector_is_refused() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let delete = client.request("DELETE", CUSTOMER).send();
    delete.expect_error(400, "missing_selector");
    let patch = client.send_json(
        "PATCH",
        CUSTOMER,
        &json!({"resource": [{"full_name": "x"}]}),
    );
    assert_eq!(patch.status, 400, "{}", patch.text());
    assert_eq!(client.query(CUSTOMER, &[("count_only", "true")]).json(), 4);
    gateway.stop();
}

#[test]
fn a_body_that_does_not_arrive_is_the_callers_matter() {
    let directory = sample::shop_with("[gateway]\nrequest_timeout_seconds = 1\n");
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(ADMIN);
    client
        .get("/api/v2/shop/_table/customer?limit=1")
        .expect_ok();
    for method in ["POST", "GET"] {
        let half = format!(
            "{method} /api/v2/shop/_table/tag HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADMIN}\r\n\
             Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"resource\":"
        );
        let mut stream = client.connect();
        stream.write_all(half.as_bytes()).unwrap();
        let answer = read_answer(&mut BufReader::new(stream), false).unwrap();
        answer.expect_error(408, "request_timeout");
    }
    assert_eq!(gateway.status()["services"][0]["health"], "up");
    client
        .get("/api/v2/shop/_table/customer?limit=1")
        .expect_ok();
    gateway.stop();
}
