//! Does a tree whose access tests fail stay out?

use std::path::Path;
use std::process::Command;

use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, READER};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer/1";

const READERS_ONLY_READ: &str = r#"[[expect]]
description = "Readers only read"
key = "reader"
request = "DELETE /api/v2/shop/_table/customer/1"
answer = "denied"
rule = { role = "reader", component = "*" }
"#;

fn shop() -> WatchedDirectory {
    let directory = sample::shop();
    directory.write("expect.toml", READERS_ONLY_READ);
    directory
}

/// The people of the sample, with readers that may do everything.
fn too_much() -> String {
    let (before, after) = sample::people()
        .split_once("[role.reader]")
        .map(|(before, after)| (before.to_owned(), after.to_owned()))
        .unwrap();
    let opened = after.replacen("verbs = [\"GET\"]", "verbs = [\"GET\", \"DELETE\"]", 1);
    assert_ne!(after, opened);
    format!("{before}[role.reader]{opened}")
}

fn check(tree: &Path, format: &str) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(["check", "--format", format])
        .arg(tree)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn an_edit_that_opens_too_much_never_goes_live() {
    let directory = shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("refused");
    let client = gateway.client_with(READER);
    let delete = || client.request("DELETE", CUSTOMER).send();
    delete().expect_error(403, "forbidden");

    directory.write("people.toml", too_much());
    let attempt = gateway.wait_for_refusal();
    let problem = &attempt["problems"][0];
    let file = problem["file"].as_str().unwrap();
    assert!(file.ends_with("expect.toml"), "{attempt}");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&5.into(), &10.into()),
        "{attempt}"
    );
    let message = problem["message"].as_str().unwrap();
    for words in [
        "Readers only read",
        "is allowed",
        "people.toml:",
        "grants DELETE",
    ] {
        assert!(message.contains(words), "{words} is not in {message}");
    }
    assert!(
        problem["help"]
            .as_str()
            .unwrap()
            .contains("take DELETE out of people.toml:")
    );
    assert_eq!(gateway.generation(), 1);
    assert_eq!(gateway.status()["degraded"], true);
    delete().expect_error(403, "forbidden");
    client.get(CUSTOMER).expect_ok();
    assert!(gateway.log().contains("Readers only read"));

    // Either the edit is taken back, or what is expected changes with it.
    directory.write(
        "expect.toml",
        READERS_ONLY_READ.replace("denied", "allowed"),
    );
    gateway.wait_for_generation_after(1);
    assert_eq!(gateway.status()["degraded"], false);
    assert_ne!(delete().status, 403);
    gateway.stop();
}

#[test]
fn a_row_that_is_no_longer_the_one_is_a_failure_too() {
    let directory = shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("refused");
    // Still denied, but now by a row of its own.
    let people = sample::people();
    directory.write(
        "people.toml",
        people
            + "[[role.reader.access]]\nservice = \"shop\"\ncomponent = \"_table/*\"\nverbs = [\"DELETE\"]\ndeny = true\n",
    );
    let attempt = gateway.wait_for_refusal();
    let message = attempt["problems"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("not by the row that is expected"),
        "{attempt}"
    );
    assert_eq!(attempt["problems"][0]["line"], 6);
    gateway.stop();
}

#[test]
fn a_first_start_on_a_tree_whose_access_tests_fail_says_why_and_ends() {
    let directory = shop();
    directory.write("people.toml", too_much());
    let (status, log) = Start::new(&directory.tree(), &directory.data()).expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("expect.toml:5:10"), "{log}");
}

#[test]
fn check_counts_what_holds_and_shows_what_does_not() {
    let directory = shop();
    let tree = directory.tree();
    let (code, output) = check(&tree, "text");
    assert_eq!(code, Some(0), "{output}");
    assert!(output.ends_with("1 expectation holds\n"), "{output}");
    let (_, output) = check(&tree, "json");
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["trees"][0]["expectations"], 1);

    directory.write("people.toml", too_much());
    let (code, output) = check(&tree, "text");
    assert_eq!(code, Some(1), "{output}");
    for words in ["expect.toml:5:10", "^^^^^^^^", "1 error in 1 of 3 files"] {
        assert!(output.contains(words), "{words} is not in\n{output}");
    }
    assert!(!output.contains("hold\n"), "{output}");
    let (_, output) = check(&tree, "json");
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["trees"][0]["expectations"], serde_json::Value::Null);
}

#[test]
fn a_key_that_has_expired_does_not_make_its_tree_wrong() {
    let directory = shop();
    let expect = |more: &str| {
        format!(
            "[[expect]]\nkey = \"past\"\nrequest = \"GET {CUSTOMER}\"\nanswer = \"allowed\"\n{more}"
        )
    };
    directory.write(
        "past.toml",
        sample::key("past", "reader", "key-of-the-past-0123456789")
            + "expires = 2020-01-01T00:00:00Z\n"
            + &expect(""),
    );
    directory.write("moment.toml", expect("at = 2019-12-31T23:59:59Z\n"));
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway
        .client_with("key-of-the-past-0123456789")
        .get(CUSTOMER)
        .expect_error(401, "unauthenticated");
    gateway.client_with(READER).get(CUSTOMER).expect_ok();

    gateway.claim("refused");
    directory.write("moment.toml", expect("at = 2020-01-01T00:00:00Z\n"));
    let attempt = gateway.wait_for_refusal();
    assert!(
        attempt.to_string().contains("is refused from 2020-01-01"),
        "{attempt}"
    );
    directory.remove("moment.toml");
    eventually("the end of the degradation", 30, || {
        (gateway.status()["degraded"] == false).then_some(())
    });
    gateway.stop();
}
