//! Who is let in?

use serde_json::Value;

use crate::support::sample::{self, READER, digest};
use crate::support::{TestGateway, WatchedDirectory};

const TABLE: &str = "/api/v2/shop/_table/customer";

fn keys_of_every_kind() -> WatchedDirectory {
    sample::shop_with(&format!(
        r#"
[key.inactive]
role = "reader"
active = false
sha256 = ["{}"]

[key.expired]
role = "reader"
expires = 2020-01-01T00:00:00Z
sha256 = ["{}"]

[key.early]
role = "reader"
not_before = 2099-01-01T00:00:00Z
sha256 = ["{}"]

[key.rotating]
role = "reader"
sha256 = ["{}", "{}"]

[key.without_role]
sha256 = ["{}"]

[role.asleep]
active = false
[[role.asleep.access]]
service = "*"
component = "*"
verbs = ["GET"]

[key.of_an_inactive_role]
role = "asleep"
sha256 = ["{}"]

[key.in_the_query]
role = "reader"
allow_query = true
sha256 = ["{}"]
"#,
        digest("inactive-key-0123456789"),
        digest("expired-key-0123456789"),
        digest("early-key-0123456789"),
        digest("rotating-old-0123456789"),
        digest("rotating-new-0123456789"),
        digest("roleless-key-0123456789"),
        digest("asleep-key-0123456789"),
        digest("query-key-0123456789"),
    ))
}

#[test]
fn whoever_cannot_be_identified_gets_one_and_the_same_401() {
    let directory = keys_of_every_kind();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("`without_role` has no role");
    let mut answers = vec![gateway.client().get(TABLE)];
    for key in [
        "never-heard-of-this-key",
        "",
        "inactive-key-0123456789",
        "expired-key-0123456789",
        "early-key-0123456789",
    ] {
        answers.push(gateway.client_with(key).get(TABLE));
    }
    for path in ["/api/v2", "/api/v2/api_docs", "/api/v2/no_such_service"] {
        answers.push(gateway.client().get(path));
    }
    let told = |answer: &crate::support::Answer| {
        let mut body = answer.json();
        body["error"]["request_id"] = Value::Null;
        (body, answer.header("www-authenticate").map(str::to_owned))
    };
    for answer in &answers {
        answer.expect_error(401, "unauthenticated");
        assert_eq!(told(answer), told(&answers[0]));
    }
    gateway.stop();
}

#[test]
fn a_key_is_taken_from_either_header_and_both_digests_count_during_a_rotation() {
    let directory = keys_of_every_kind();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("`without_role` has no role");
    for header in [
        "X-API-Key",
        "X-DreamFactory-API-Key",
        "x-dreamfactory-api-key",
    ] {
        for key in [READER, "rotating-old-0123456789", "rotating-new-0123456789"] {
            let client = gateway.client();
            let answer = client.request("GET", TABLE).header(header, key).send();
            answer.expect_ok();
        }
    }
    gateway.stop();
}

#[test]
fn two_different_keys_in_one_request_are_a_contradiction() {
    let directory = keys_of_every_kind();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("`without_role` has no role");
    let client = gateway.client();
    let both = |first: &str, second: &str| {
        client
            .request("GET", TABLE)
            .header("X-API-Key", first)
            .header("X-DreamFactory-API-Key", second)
            .send()
    };
    both(READER, "rotating-new-0123456789").expect_error(400, "conflicting_credentials");
    both(READER, READER).expect_ok();
    gateway.stop();
}

#[test]
fn a_key_without_a_working_role_is_known_but_may_do_nothing() {
    let directory = keys_of_every_kind();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("`without_role` has no role");
    for key in ["roleless-key-0123456789", "asleep-key-0123456789"] {
        let answer = gateway.client_with(key).get(TABLE);
        answer.expect_error(403, "forbidden");
    }
    gateway.stop();
}

#[test]
fn a_key_in_the_query_string_counts_only_where_the_key_allows_it() {
    let directory = keys_of_every_kind();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("`without_role` has no role");
    let client = gateway.client();
    let with = |key: &str| client.query(TABLE, &[("api_key", key)]);
    with("query-key-0123456789").expect_ok();
    with(READER).expect_error(401, "unauthenticated");
    assert!(
        !gateway.log().contains("query-key-0123456789"),
        "a key was logged"
    );
    gateway.stop();
}
