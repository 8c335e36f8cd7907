//! Does `tidegate explain` say what the running gateway does?

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::gateway::binary;
use crate::support::sample::{self, READER, key};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const MIXED: &str = "key-of-the-mixed-role-0123456789";
const NONE: &str = "key-without-a-role-0123456789";
const PAST: &str = "key-of-the-past-0123456789";

fn shop() -> WatchedDirectory {
    let mut manifest = String::from(
        r#"
[service.asleep]
type = "sqlite"
active = false
[service.asleep.config]
database = "shop.db"

[lookup]
region = "north"

[role.mixed]
[[role.mixed.access]]
service = "*"
component = "*"
verbs = ["GET", "POST"]
[[role.mixed.access]]
service = "shop"
component = "_table/customer/*"
verbs = ["GET", "DELETE"]
filter = "owner = {lookup.region}"
fields = ["id", "email"]
[[role.mixed.access]]
service = "shop"
component = "_table/secret/*"
verbs = ["GET"]
deny = true
[[role.mixed.access]]
service = "shop"
component = "_table/secret/*"
verbs = ["GET", "PUT"]

"#,
    );
    manifest += &key("mixed", "mixed", MIXED);
    manifest += &key("past", "mixed", PAST);
    manifest += "expires = 2020-01-01T00:00:00Z\n";
    manifest += &key("none", "mixed", NONE).replace("role = \"mixed\"\n", "");
    sample::shop_with(&manifest)
}

fn explain(tree: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(["explain", "--config"])
        .arg(tree)
        .args(arguments)
        .env_remove("TIDEGATE_FORMAT")
        .output()
        .unwrap()
}

fn json(tree: &Path, key: &str, method: &str, path: &str) -> Value {
    let output = explain(tree, &["--format", "json", "--key", key, method, path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The closing line of the request with this id.
fn closing_line(gateway: &TestGateway, id: &str) -> Value {
    eventually("the closing line of a request", 30, || {
        gateway.log().lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let fields = line.get("fields").unwrap_or(&line);
            (fields["message"] == "request" && fields["request.id"] == id).then(|| fields.clone())
        })
    })
}

#[test]
fn the_audit_line_of_a_request_is_what_explain_says_of_it() {
    let directory = shop();
    let tree = directory.tree();
    let gateway = TestGateway::start_with_data(&tree, directory.data());
    gateway.claim("no role");
    for (name, key, method, path, reason) in [
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/shop/_table/customer/1",
            "granted",
        ),
        ("mixed", MIXED, "HEAD", "/api/v2/shop/_table/tag", "granted"),
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/shop/_table/SECRET",
            "denied_by_row",
        ),
        (
            "mixed",
            MIXED,
            "POST",
            "/api/v2/shop/_table/secret?method=DELETE",
            "verb_not_granted",
        ),
        (
            "mixed",
            MIXED,
            "DELETE",
            "/api/v2/shop/_table/tag/1",
            "verb_not_granted",
        ),
        (
            "mixed",
            MIXED,
            "PUT",
            "/api/v2/shop/_schema/tag",
            "verb_not_granted",
        ),
        ("mixed", MIXED, "GET", "/api/v2/shop/_schema/tag", "granted"),
        (
            "mixed",
            MIXED,
            "POST",
            "/api/v2/shop/_table",
            "method_not_allowed",
        ),
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/shop/_nothing",
            "unknown_resource",
        ),
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/asleep/_table",
            "service_deactivated",
        ),
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/absent/_table",
            "unknown_service",
        ),
        (
            "mixed",
            MIXED,
            "OPTIONS",
            "/api/v2/shop/_table/tag",
            "some_access",
        ),
        (
            "mixed",
            MIXED,
            "GET",
            "/api/v2/api_docs/shop",
            "some_access",
        ),
        ("mixed", MIXED, "GET", "/api/v2", "any_key"),
        ("none", NONE, "GET", "/api/v2/shop", "no_role"),
        ("past", PAST, "GET", "/api/v2/shop", "expired_key"),
        ("reader", READER, "GET", "/docs/", "public"),
    ] {
        let answer = gateway.client_with(key).request(method, path).send();
        let line = closing_line(&gateway, answer.header("x-request-id").unwrap());
        let explained = json(&tree, name, method, path);
        let context = format!("{method} {path}\n{line}\n{explained:#}");
        assert_eq!(explained["reason"], reason, "{context}");
        for field in ["decision", "reason", "rule"] {
            assert_eq!(line[field], explained[field], "{context}");
        }
        match explained["answer"]["status"].as_u64() {
            Some(status) => assert_eq!(u64::from(answer.status), status, "{context}"),
            None => assert!(answer.status < 300, "{context}"),
        }
        if !matches!(reason, "expired_key" | "public") {
            assert_eq!(line["key.name"], explained["key"]["name"], "{context}");
            assert_eq!(line["role.name"], explained["role"]["name"], "{context}");
        }
    }
    gateway.stop();
}

#[test]
fn a_role_without_a_row_is_refused_alike_for_what_exists_and_what_does_not() {
    let directory = sample::shop_with(
        &("[role.narrow]\n[[role.narrow.access]]\nservice = \"shop\"\ncomponent = \"_table/tag/*\"\nverbs = [\"GET\"]\n"
            .to_owned()
            + &key("narrow", "narrow", MIXED)),
    );
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    for path in ["/api/v2/shop/_table/customer", "/api/v2/absent"] {
        let answer = gateway.client_with(MIXED).get(path);
        let line = closing_line(&gateway, answer.header("x-request-id").unwrap());
        let explained = json(&directory.tree(), "narrow", "GET", path);
        for said in [&line, &explained] {
            assert_eq!(said["reason"], "no_row", "{said}");
            assert_eq!(said["rule"], Value::Null, "{said}");
        }
    }
    gateway.stop();
}

#[test]
fn what_a_call_is_refused_inside_is_in_its_audit_line() {
    let directory = sample::shop_with(
        &("[role.north]\n[[role.north.access]]\nservice = \"shop\"\ncomponent = \"_table/customer/*\"\nverbs = [\"GET\", \"PATCH\"]\nfilter = \"owner = 'north'\"\n"
            .to_owned()
            + &key("north", "north", MIXED)),
    );
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let path = "/api/v2/shop/_table/customer/1";
    let body = serde_json::json!({"owner": "south"});
    // The path is allowed; the record would leave what the role may see.
    let answer = gateway.client_with(MIXED).send_json("PATCH", path, &body);
    answer.expect_error(403, "row_not_permitted");
    let line = closing_line(&gateway, answer.header("x-request-id").unwrap());
    assert_eq!(line["decision"], "denied", "{line}");
    assert_eq!(line["reason"], "refused_inside", "{line}");
    let explained = json(&directory.tree(), "north", "PATCH", path);
    assert_eq!(explained["decision"], "allowed", "{explained}");
    let notes = explained["notes"].to_string();
    assert!(notes.contains("when the call runs"), "{notes}");
    gateway.stop();
}

#[test]
fn explain_shows_the_row_its_filter_its_columns_and_where_it_all_stands() {
    let directory = shop();
    let tree = directory.tree();
    let found = json(&tree, "mixed", "GET", "shop/_table/customer/1?fields=*");
    assert_eq!(found["decision"], "allowed");
    assert_eq!(
        found["request"]["path"],
        "/api/v2/shop/_table/customer/1?fields=*"
    );
    assert_eq!(found["grant"]["filter"], "owner = {lookup.region}");
    assert_eq!(found["grant"]["lookups"]["lookup.region"], "north");
    assert_eq!(found["grant"]["fields"], serde_json::json!(["email", "id"]));
    assert_eq!(found["operation"]["name"], "get_record");
    let manifest = std::fs::read_to_string(tree.join("more.toml")).unwrap();
    let line = |text: &str| {
        let position = manifest.lines().position(|line| line == text).unwrap();
        format!("more.toml:{}", position + 1)
    };
    assert_eq!(found["key"]["position"], line("[key.mixed]"));
    assert_eq!(found["role"]["position"], line("[role.mixed]"));
    assert_eq!(found["role"]["chosen_at"], line("role = \"mixed\""));
    let rows = found["rows"].as_array().unwrap();
    let parts: Vec<&str> = rows
        .iter()
        .map(|row| row["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["decides", "less_specific"]);
    assert_eq!(rows[0]["position"], found["rule"]);

    let shown = explain(&tree, &["--key", "mixed", "GET", "/shop/_table/secret"]);
    let shown = text(&shown.stdout);
    for words in [
        "denied:",
        "deny GET",
        "deny wins among equals",
        "403 forbidden",
    ] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours without a terminal");
}

#[test]
fn explain_answers_0_1_and_2() {
    let directory = shop();
    let tree = directory.tree();
    let code = |arguments: &[&str]| explain(&tree, arguments).status.code();
    let asked = ["--key", "reader", "GET", "/shop/_table/tag"];
    assert_eq!(code(&asked), Some(0));
    assert_eq!(
        code(&[&asked[..], &["--expect", "allowed"]].concat()),
        Some(0)
    );
    assert_eq!(
        code(&[&asked[..], &["--expect", "denied"]].concat()),
        Some(1)
    );
    // The time at which a key asks can be chosen.
    let past = [
        "--key",
        "past",
        "GET",
        "/shop/_table/tag",
        "--expect",
        "allowed",
    ];
    assert_eq!(code(&past), Some(1));
    assert_eq!(
        code(&[&past[..], &["--at", "2019-01-01T00:00:00Z"]].concat()),
        Some(0)
    );

    for (arguments, words) in [
        (
            &["--key", "raeder", "GET", "/shop"][..],
            "did you mean `reader`?",
        ),
        (&["--key", "reader", "get", "/shop"], "did you mean GET?"),
        (&["--key", "reader", "GET", "/shop/a b"], "%20"),
        (&["--key", "reader", "GET"], "PATH"),
        (&["GET", "/shop"], "--key"),
        (&["--key", "reader", "GET", "/shop", "--at", "noon"], "--at"),
        (&["--key", READER, "GET", "/shop"], "--key reader"),
    ] {
        let output = explain(&tree, arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}\n{errors}");
        assert!(errors.contains(words), "{words} is not in\n{errors}");
        assert!(!errors.contains(READER), "a key is repeated:\n{errors}");
    }

    directory.write("broken.toml", "[service.x]\ntype = \"sqlight\"\n");
    let output = explain(&tree, &asked);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("broken.toml:2:8"));
}

#[test]
fn an_expectation_that_fails_can_be_explained() {
    let directory = shop();
    directory.write(
        "expect.toml",
        "[[expect]]\nkey = \"reader\"\nrequest = \"GET /shop/_table/tag\"\nanswer = \"denied\"\n",
    );
    let found = json(&directory.tree(), "reader", "GET", "/shop/_table/tag");
    assert_eq!(found["decision"], "allowed");
}

#[test]
fn the_explanation_in_the_readme_is_what_the_command_prints() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("### Explaining a decision\n\n```sh\n")
        .unwrap();
    let (command, rest) = rest.split_once("\n```\n```text\n").unwrap();
    let promised = rest.split("```").next().unwrap();
    let arguments = command.split_whitespace().skip(1);
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), promised);
}
