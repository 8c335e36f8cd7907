//! What do conditional requests do?

use serde_json::json;

use crate::support::sample::{self, ADMIN};
use crate::support::{TestGateway, WatchedDirectory};

const ANN: &str = "/api/v2/shop/_table/customer/1";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

#[test]
fn an_unchanged_record_is_not_sent_twice() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let first = client.get(ANN);
    let tag = first
        .header("etag")
        .expect("an ETag on GET by key")
        .to_owned();
    let again = |value: &str| {
        client
            .request("GET", ANN)
            .header("If-None-Match", value)
            .send()
    };
    for value in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
        let answer = again(&value);
        assert_eq!(answer.status, 304, "{value}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert!(answer.body.is_empty());
    }
    again("\"other\"").expect_ok();
    client
        .send_json("PATCH", ANN, &json!({"full_name": "New"}))
        .expect_ok();
    let changed = again(&tag);
    changed.expect_ok();
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    gateway.stop();
}

#[test]
fn a_write_on_an_old_state_is_refused() {
    let (_directory, gateway) = start();
    let client = gateway.client_with(ADMIN);
    let tag = client.get(ANN).header("etag").unwrap().to_owned();
    let patch = |tag: &str, name: &str| {
        client
            .request("PATCH", ANN)
            .header("If-Match", tag)
            .json(&json!({"full_name": name}))
            .send()
    };
    patch(&tag, "first").expect_ok();
    patch(&tag, "second").expect_error(412, "precondition_failed");
    assert_eq!(client.get(ANN).json()["full_name"], "first");
    patch("*", "third").expect_ok();
    let delete = client
        .request("DELETE", ANN)
        .header("If-Match", &tag)
        .send();
    delete.expect_error(412, "precondition_failed");
    client.get(ANN).expect_ok();
    gateway.stop();
}

#[test]
fn a_condition_never_shows_more_than_the_role_may_see() {
    let (directory, gateway) = start();
    directory.write(
        "narrow.toml",
        format!(
            "[role.narrow]\n[[role.narrow.access]]\nservice = \"shop\"\ncomponent = \"_table/customer/*\"\nverbs = [\"GET\"]\nfields = [\"id\", \"email\"]\n\n{}",
            sample::key("narrow", "narrow", "narrow-key-0123456789")
        ),
    );
    gateway.wait_for_generation_after(1);
    let narrow = gateway.client_with("narrow-key-0123456789");
    let before = narrow.get(ANN).header("etag").unwrap().to_owned();
    gateway
        .client_with(ADMIN)
        .send_json("PATCH", ANN, &json!({"credit": 1}))
        .expect_ok();
    let after = narrow
        .request("GET", ANN)
        .header("If-None-Match", &before)
        .send();
    assert_eq!(after.status, 304, "a hidden column shows in the tag");
    gateway.stop();
}

#[test]
fn the_documentation_page_is_not_sent_twice_either() {
    let (_directory, gateway) = start();
    let client = gateway.client();
    let page = client
        .request("GET", "/docs/swagger-ui.css")
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!(page.header("content-encoding"), Some("gzip"));
    let tag = page.header("etag").unwrap().to_owned();
    assert!(tag.ends_with("-gzip\""), "{tag}");
    for value in [
        tag.clone(),
        format!("\"other\", W/{tag}"),
        tag.replace("-gzip", ""),
    ] {
        let again = client
            .request("GET", "/docs/swagger-ui.css")
            .header("If-None-Match", &value)
            .send();
        assert_eq!(again.status, 304, "{value}");
    }
    gateway.stop();
}
