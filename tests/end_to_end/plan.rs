//! What does `tidegate plan` say of two trees, and when does it refuse a change?

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::WatchedDirectory;
use crate::support::gateway::binary;
use crate::support::sample;

const BEFORE: &str = "tests/trees/plan/before";
const AFTER: &str = "tests/trees/plan/after";

fn plan(arguments: &[&str]) -> Output {
    Command::new(binary())
        .arg("plan")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The output of a plan that ends well.
fn planned(arguments: &[&str]) -> String {
    let output = plan(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

fn folder(files: &[(&str, &str)]) -> (WatchedDirectory, String) {
    let directory = WatchedDirectory::with(files);
    let path = directory.tree().to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn a_plan_is_written_for_people_for_programs_and_for_a_comment() {
    insta::assert_snapshot!("plan_text", planned(&[BEFORE, AFTER]));
    insta::assert_snapshot!(
        "plan_markdown",
        planned(&[BEFORE, AFTER, "--format", "markdown"])
    );
    let mut shown: Value =
        serde_json::from_str(&planned(&[BEFORE, AFTER, "--format", "json"])).unwrap();
    for tree in ["from", "to"] {
        let name = shown[tree].as_object_mut().unwrap();
        assert_eq!(name["digest"].as_str().unwrap().len(), 64);
        name.insert("digest".to_owned(), json!("…"));
        name.insert("commit".to_owned(), json!("…"));
    }
    insta::assert_snapshot!("plan_json", format!("{shown:#}"));
}

#[test]
fn every_change_names_a_place_that_holds_what_caused_it() {
    let shown: Value =
        serde_json::from_str(&planned(&[BEFORE, AFTER, "--format", "json"])).unwrap();
    let changes = shown["changes"].as_array().unwrap();
    assert!(changes.len() > 30);
    for change in changes {
        let sites = change["sites"].as_array().unwrap();
        assert!(!sites.is_empty(), "{change}");
        for site in sites {
            let file = site["file"].as_str().unwrap();
            let expected = if site["tree"] == "from" {
                BEFORE
            } else {
                AFTER
            };
            assert!(file.starts_with(expected), "{site}");
            let source = std::fs::read_to_string(file).unwrap();
            let number = usize::try_from(site["line"].as_u64().unwrap()).unwrap();
            let line = source.lines().nth(number - 1).unwrap();
            let is_telling = line.starts_with('[') || line.contains(" = ");
            assert!(is_telling, "{site}: {line}");
        }
    }
}

#[test]
fn a_secret_is_not_shown_in_any_format() {
    let config = "[service.shop]\ntype = \"pgsql\"\n[service.shop.config]\nhost = \"h\"\ndatabase = \"d\"\nusername = \"u\"\n";
    let with = |password: &str| format!("{config}password = {password}\n");
    let (_before, before) = folder(&[("a.toml", &with("{ plain = \"xyzzy-one\" }"))]);
    let (_after, after) = folder(&[("a.toml", &with("{ plain = \"xyzzy-two\" }"))]);
    for format in ["text", "json", "markdown"] {
        let shown = planned(&[&before, &after, "--format", format]);
        assert!(shown.contains("password"), "{shown}");
        assert!(!shown.contains("xyzzy"), "{shown}");
    }
}

#[test]
fn what_is_written_otherwise_and_means_the_same_is_no_change() {
    assert!(planned(&[BEFORE, BEFORE]).contains("no changes; 4 services kept"));
    let (_before, before) = folder(&[(
        "a.toml",
        "[service.a]\ntype = \"sqlite\"\nconfig = { database = \"a.db\" }\n[role.r]\n[[role.r.access]]\nservice = \"a\"\ncomponent = \"*\"\nverbs = [\"GET\", \"POST\"]\nfilter = \"x = 1 AND y = 2\"\n",
    )]);
    let (_after, after) = folder(&[
        (
            "folder/one.toml",
            "# moved\n[[role.r.access]]\nverbs = [\"POST\"]\nservice = \"a\"\ncomponent = \"/*\"\nfilter = \"y=2 and (x = 1)\"\n\
             [[role.r.access]]\nverbs = [\"GET\"]\nservice = \"a\"\ncomponent = \"*\"\nfilter = \"x=1 AND y=2\"\ndeny = false\n",
        ),
        (
            "two.toml",
            "[service.a.config]\nread_only = false\ndatabase = \"a.db\"\n[service.a]\nlabel = \"a\"\nactive = true\ntype = \"sqlite\"\n[gateway]\nmax_body_bytes = 10_485_760\n",
        ),
    ]);
    let shown = planned(&[&before, &after, "--fail-on", "role-changed"]);
    assert!(shown.contains("no changes; 1 service kept"), "{shown}");
    // Layers are one tree.
    let (_layer, layer) = folder(&[(
        "more.toml",
        "[service.b]\ntype = \"sqlite\"\nconfig = { database = \"b.db\" }\n",
    )]);
    let shown = planned(&[&before, &format!("{after},{layer}")]);
    assert!(shown.contains("+ service b (sqlite) is added"), "{shown}");
    assert!(shown.contains("more.toml:1:1"), "{shown}");
}

#[test]
fn changes_of_a_class_that_is_refused_end_in_1() {
    for (classes, code) in [
        ("access-widened", 1),
        ("service-added,breaking", 1),
        ("api-changed", 1),
    ] {
        let output = plan(&[BEFORE, AFTER, "--fail-on", classes]);
        assert_eq!(output.status.code(), Some(code), "{classes}");
        assert!(text(&output.stdout).contains("refused: "), "{classes}");
    }
    let (_before, before) = folder(&[("a.toml", "[role.r]\n")]);
    let (_after, after) = folder(&[("a.toml", "[role.r]\ndescription = \"d\"\n")]);
    let all_but = "access-widened,access-narrowed,breaking,api-changed,service-removed,role-removed,lookup-changed";
    let shown = planned(&[&before, &after, "--fail-on", all_but]);
    assert!(shown.contains("role r: another description"), "{shown}");
    let output = plan(&[
        &before,
        &after,
        "--fail-on",
        "role-changed",
        "--format",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["refused"], json!(["role-changed"]));
    let from_environment = Command::new(binary())
        .args(["plan", &before, &after])
        .env("TIDEGATE_FAIL_ON", "breaking,role-changed")
        .output()
        .unwrap();
    assert_eq!(from_environment.status.code(), Some(1));
}

#[test]
fn misuse_says_what_to_write_instead() {
    let output = plan(&[BEFORE, AFTER, "--fail-on", "widened"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    assert!(
        shown.contains("access-widened, access-narrowed, breaking"),
        "{shown}"
    );
    assert_eq!(plan(&[BEFORE]).status.code(), Some(2));
    for arguments in [
        &["check", BEFORE][..],
        &["key", "new"],
        &["schema"],
        &["serve"],
    ] {
        let output = Command::new(binary())
            .args(arguments)
            .args(["--format", "markdown"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("only `plan` writes Markdown"));
    }
}

#[test]
fn a_tree_that_does_not_load_is_refused_with_its_problems() {
    let (_good, good) = folder(&[("a.toml", "[role.r]\n")]);
    let (_bad, bad) = folder(&[("a.toml", "[role.r]\nactiv = true\n")]);
    let output = plan(&[&bad, &good]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in [
        "FROM ",
        "nothing to compare with",
        "a.toml:2:1",
        "did you mean `active`?",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    let output = plan(&[&good, &bad, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["broken"][0]["tree"], "to");
    assert_eq!(shown["broken"][0]["problems"][0]["line"], 2);
    let output = plan(&[&bad, "no/such/folder", "--format", "markdown"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in ["FROM", "TO no/such/folder would be refused", "```text\n"] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    let (_empty, empty) = folder(&[("a.toml", "[gateway]\n")]);
    let shown = planned(&[&good, &empty]);
    assert!(shown.contains("note: the second tree is empty"), "{shown}");
}

/// A shop whose tables another version of the database lacks in part.
fn shop_without_a_column() -> WatchedDirectory {
    let directory = sample::shop();
    let path = directory.data().join("other.db");
    sample::create_shop(&path);
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "DROP VIEW rich; ALTER TABLE invoice DROP COLUMN issued_on; \
             ALTER TABLE tag ADD COLUMN colour TEXT; DROP TABLE secret;",
        )
        .unwrap();
    directory
}

#[test]
fn with_backends_tables_and_columns_are_compared() {
    let directory = shop_without_a_column();
    let (_after, after) = folder(&[
        ("shop.toml", &sample::sqlite_service("shop", "other.db")),
        ("people.toml", &sample::people()),
    ]);
    let before = directory.tree();
    let (before, data) = (before.to_str().unwrap(), directory.data());
    let data = data.to_str().unwrap();
    let shown = planned(&[before, &after]);
    assert!(
        shown.contains("note: tables and columns were not looked at"),
        "{shown}"
    );
    assert!(!shown.contains("issued_on"), "{shown}");

    let with_backends = ["--backends", "--data-dir", data];
    let shown = planned(&[&[before, &after][..], &with_backends].concat());
    for expected in [
        "service shop is opened anew: database differs",
        "key reader (role reader): `issued_on` no longer answered in GET shop/_table/invoice, GET shop/_table/invoice/{id}",
        "key admin (role admin): `issued_on` no longer taken in",
        "`colour` answered in GET shop/_table/tag",
        "no longer there: GET shop/_table/rich, ",
        "GET shop/_table/secret/{id}",
        "`table` takes fewer values, no longer `rich, secret`, in GET shop/_schema/{table}",
        "shop.toml:6:1  [breaking]",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert!(
        !shown.contains("tables and columns were not looked at"),
        "{shown}"
    );
    let output = plan(
        &[
            &[before, &after, "--fail-on", "breaking"][..],
            &with_backends,
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(1));

    // A service that is kept has one backend, so nothing can differ.
    let shown = planned(&[&[before, before][..], &with_backends].concat());
    assert!(shown.contains("no changes; 1 service kept"), "{shown}");

    // Without a database there is nothing to compare, and that is said.
    let (_missing, missing) = folder(&[
        ("shop.toml", &sample::sqlite_service("shop", "missing.db")),
        ("people.toml", &sample::people()),
    ]);
    let shown = planned(&[&[before, &missing][..], &with_backends].concat());
    assert!(
        shown.contains("note: the backend of shop does not answer"),
        "{shown}"
    );
    assert!(!shown.contains("no longer there"), "{shown}");
}

#[test]
fn with_backends_the_secrets_must_be_there() {
    let config = "[service.shop]\ntype = \"pgsql\"\n[service.shop.config]\nhost = \"127.0.0.1\"\ndatabase = \"d\"\nusername = \"u\"\n";
    let with = format!("{config}password = {{ env = \"TIDEGATE_TEST_NOT_SET\" }}\n");
    let (_before, before) = folder(&[("a.toml", &with)]);
    assert!(planned(&[&before, &before]).contains("no changes"));
    let output = plan(&[&before, &before, "--backends"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("TIDEGATE_TEST_NOT_SET"), "{shown}");
    assert!(shown.contains("a.toml:7:"), "{shown}");
}
