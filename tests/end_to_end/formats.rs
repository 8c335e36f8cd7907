//! In which form does data travel?

use serde_json::{Value, json};

use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn accept_chooses_the_format() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let get = |accept: &str| {
        client
            .request("GET", CUSTOMER)
            .header("Accept", accept)
            .send()
    };
    for (accept, media_type) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv", "text/csv"),
        ("application/xml", "application/xml"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json;q=0.5", "text/csv"),
        ("image/png, text/csv;q=0.1", "text/csv"),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/xml",
        ),
    ] {
        let answer = get(accept);
        answer.expect_ok();
        let got = answer.header("content-type").unwrap();
        assert!(got.starts_with(media_type), "{accept}: {got}");
        let vary = answer.vary();
        assert!(vary.contains("accept"), "{accept}: Vary is {vary:?}");
    }
    let overridden = client
        .request("GET", &format!("{CUSTOMER}?accept=text%2Fcsv"))
        .header("Accept", "application/json")
        .send();
    assert!(
        overridden
            .header("content-type")
            .unwrap()
            .starts_with("text/csv")
    );
    gateway.stop();
}

#[test]
fn every_format_carries_the_same_rows() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let target = format!("{CUSTOMER}?fields=id,email,full_name&order=id");
    let json_rows = client.get(&target).records();
    assert_eq!(json_rows[3]["full_name"], "Di \"Quote\" O'Moe, Esq.");
    assert_eq!(json_rows[2]["full_name"], Value::Null);

    let lines = client
        .request("GET", &target)
        .header("Accept", "application/x-ndjson")
        .send();
    let lines: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, json_rows);

    let answer = client
        .request("GET", &target)
        .header("Accept", "text/csv")
        .send();
    let mut reader = csv::Reader::from_reader(&*answer.body);
    assert_eq!(reader.headers().unwrap(), vec!["id", "email", "full_name"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(&rows[3][2], "Di \"Quote\" O'Moe, Esq.");

    let answer = client
        .request("GET", &target)
        .header("Accept", "application/xml")
        .send();
    let xml = answer.text();
    assert_eq!(xml.matches("<resource>").count(), 4, "{xml}");
    assert!(xml.contains("<dfapi>"), "{xml}");
    assert!(xml.contains("<email>ann@example.org</email>"), "{xml}");
    gateway.stop();
}

#[test]
fn compression_is_given_to_those_who_ask() {
    let (directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    sample::create_numbers(&directory.data().join("numbers.db"), 500);
    directory.write(
        "numbers.toml",
        sample::sqlite_service("numbers", "numbers.db"),
    );
    gateway.wait_for_generation_after(1);
    let target = "/api/v2/numbers/_table/number?order=id";
    let plain = client.get(target);
    assert_eq!(plain.header("content-encoding"), None);
    for encoding in ["gzip", "br", "gzip, br", "br;q=0.1, gzip", "*"] {
        let answer = client
            .request("GET", target)
            .header("Accept-Encoding", encoding)
            .send();
        assert!(answer.header("content-encoding").is_some(), "{encoding}");
        assert_eq!(answer.decoded(), plain.body, "{encoding}");
        assert!(answer.body.len() < plain.body.len() / 2, "{encoding}");
        let vary = answer.vary();
        assert!(vary.contains("accept-encoding"), "{vary}");
    }
    for encoding in ["identity", "gzip;q=0, br;q=0", "zstd"] {
        let answer = client
            .request("GET", target)
            .header("Accept-Encoding", encoding)
            .send();
        assert_eq!(answer.header("content-encoding"), None, "{encoding}");
    }
    gateway.stop();
}

#[test]
fn head_is_get_without_the_body() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for path in [
        CUSTOMER,
        "/api/v2/shop/_table/customer/1",
        "/api/v2",
        "/api/v2/shop/_table/absent",
    ] {
        let get = client.get(path);
        let head = client.request("HEAD", path).send();
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        if let (Some(promised), Some(sent)) =
            (head.header("content-length"), get.header("content-length"))
        {
            assert_eq!(promised, sent, "{path}");
        }
    }
    gateway.stop();
}

#[test]
fn options_says_what_a_resource_takes() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let answer = client.request("OPTIONS", CUSTOMER).send();
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    let allow = answer.header("allow").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    gateway.stop();
}

#[test]
fn a_download_has_a_name_and_the_format_of_its_extension() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    for (value, name, media_type) in [
        ("true", "customer.json", "application/json"),
        ("people.csv", "people.csv", "text/csv"),
        ("people.xml", "people.xml", "application/xml"),
        ("people.json", "people.json", "application/json"),
    ] {
        let answer = client.query(CUSTOMER, &[("file", value)]);
        answer.expect_ok();
        let disposition = answer.header("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment"), "{disposition}");
        assert!(disposition.contains(name), "{disposition}");
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with(media_type)
        );
    }
    for hostile in [
        "a\"b.csv",
        "a\r\nX-Evil: 1.csv",
        "../../etc/passwd",
        "ä.csv",
    ] {
        let answer = client.query(CUSTOMER, &[("file", hostile)]);
        assert!(answer.header("x-evil").is_none());
        assert!(answer.status == 200 || answer.status == 400, "{hostile:?}");
    }
    gateway.stop();
}

#[test]
fn a_post_may_carry_another_method() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let body = json!({"filter": "email = :e", "params": {":e": "bo@example.org"}});
    for header in [
        "X-HTTP-Method",
        "X-Method-Override",
        "X-HTTP-Method-Override",
    ] {
        let answer = client
            .request("POST", CUSTOMER)
            .header(header, "GET")
            .json(&body)
            .send();
        let records = answer.records();
        assert_eq!(records.len(), 1, "{header}");
        assert_eq!(records[0]["id"], 2);
    }
    let answer = client.send_json("POST", &format!("{CUSTOMER}?method=GET"), &body);
    assert_eq!(answer.records().len(), 1);
    // The role decides on the method that is meant.
    let reader = gateway.client_with(sample::READER);
    let read = reader
        .request("POST", CUSTOMER)
        .header("X-HTTP-Method", "GET")
        .json(&body)
        .send();
    read.expect_ok();
    let target = format!("{CUSTOMER}/1");
    let delete = reader
        .request("POST", &target)
        .header("X-HTTP-Method", "DELETE")
        .send();
    delete.expect_error(403, "forbidden");
    // Only POST carries.
    let plain = reader
        .request("GET", &target)
        .header("X-HTTP-Method", "DELETE")
        .send();
    plain.expect_ok();
    let merged = client
        .request("POST", &target)
        .header("X-HTTP-Method", "MERGE")
        .json(&json!({"full_name": "Ann B."}))
        .send();
    merged.expect_ok();
    assert_eq!(client.get(&target).json()["full_name"], "Ann B.");
    gateway.stop();
}

#[test]
fn csv_comes_in_as_records() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let body = "email,full_name\r\ndi2@example.org,\"Moe, Di\"\r\ned@example.org,\r\n";
    let answer = client
        .request("POST", CUSTOMER)
        .body("text/csv", body)
        .send();
    assert_eq!(answer.records().len(), 2);
    let read = client.query(CUSTOMER, &[("filter", "email = 'di2@example.org'")]);
    assert_eq!(read.records()[0]["full_name"], "Moe, Di");
    for broken in ["email\n\"open", "email,full_name\na,b,c\n", ""] {
        let answer = client
            .request("POST", CUSTOMER)
            .body("text/csv", broken)
            .send();
        assert_eq!(answer.status, 400, "{broken:?}: {}", answer.text());
    }
    gateway.stop();
}
