//! What do several layers serve together?

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, ADMIN, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
const INVOICE: &str = "/api/v2/shop/_table/invoice";

/// Takes from the reader of the shop everything but the customers.
const NARROW_READER: &str = "\
[role.reader]
override = true
[[role.reader.access]]
service = \"shop\"
component = \"_table/customer/*\"
verbs = [\"GET\"]
";

/// The shop, and a layer above it with these files.
fn start(files: &[(&str, &str)]) -> (WatchedDirectory, WatchedDirectory, TestGateway) {
    let base = sample::shop();
    let above = WatchedDirectory::with(files);
    let gateway = Start::new(&base.tree(), &base.data())
        .layer(above.tree())
        .start();
    (base, above, gateway)
}

#[test]
fn the_layer_above_replaces_and_an_edit_in_either_is_served() {
    let (base, above, gateway) = start(&[("prod.toml", NARROW_READER)]);
    let (reader, admin) = (gateway.client_with(READER), gateway.client_with(ADMIN));
    reader.get(CUSTOMER).expect_ok();
    reader.get(INVOICE).expect_error(403, "forbidden");
    admin.get(INVOICE).expect_ok();

    // Nothing of the table below is left, and everything beside it is.
    let wider = NARROW_READER.replace("_table/customer/*", "_table/invoice/*");
    above.write("prod.toml", wider);
    let generation = gateway.wait_for_generation_after(1);
    reader.get(INVOICE).expect_ok();
    reader.get(CUSTOMER).expect_error(403, "forbidden");

    base.write("second.toml", sqlite_service("second", "shop.db"));
    let generation = gateway.wait_for_generation_after(generation);
    admin.get("/api/v2/second/_table/customer").expect_ok();

    // A layer that replaces nothing any more leaves the tables below as they are.
    above.write("prod.toml", "# as below\n");
    gateway.wait_for_generation_after(generation);
    reader.get(CUSTOMER).expect_ok();
    reader.get(INVOICE).expect_ok();
    gateway.stop();
}

#[test]
fn a_service_is_replaced_with_its_database() {
    let (base, above, gateway) = start(&[]);
    let count = || {
        let answer = gateway.client_with(READER).get(CUSTOMER);
        answer.records().len()
    };
    assert_eq!(count(), 4);
    let other = base.data().join("other.db");
    sample::create_shop(&other);
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection
        .execute("DELETE FROM customer WHERE id = 4", [])
        .unwrap();
    let service = sqlite_service("shop", "other.db");
    above.write(
        "shop.toml",
        service.replace("type =", "override = true\ntype ="),
    );
    let generation = gateway.wait_for_generation_after(1);
    assert_eq!(count(), 3);
    above.write("shop.toml", "# as below\n");
    gateway.wait_for_generation_after(generation);
    assert_eq!(count(), 4);
    gateway.stop();
}

#[test]
fn a_name_of_a_layer_below_is_refused_with_both_places() {
    let (base, above, gateway) = start(&[("prod.toml", NARROW_READER)]);
    gateway.claim("refused");
    let shop = format!("\n{}", sqlite_service("shop", "shop.db"));
    above.write("more/shop.toml", shop);
    let attempt = gateway.wait_for_refusal();
    let problem = &attempt["problems"][0];
    let file = above.tree().join("more/shop.toml");
    assert_eq!(problem["file"], file.to_str().unwrap(), "{attempt}");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&2.into(), &10.into())
    );
    let help = problem["help"].as_str().unwrap();
    let place = base.tree().join("shop.toml:1:1");
    for expected in [place.to_str().unwrap(), "override = true"] {
        assert!(help.contains(expected), "{expected} is not in {help}");
    }
    assert_eq!(gateway.generation(), 1);
    let reader = gateway.client_with(READER);
    reader.get(CUSTOMER).expect_ok();
    reader.get(INVOICE).expect_error(403, "forbidden");
    assert!(gateway.operations("/readyz").text().contains("degraded"));
    gateway.stop();
}

#[test]
fn the_order_of_layers_decides() {
    let base = sample::shop();
    let above = WatchedDirectory::with(&[("prod.toml", NARROW_READER)]);
    let turned = Start::new(&above.tree(), &base.data()).layer(base.tree());
    let (status, log) = turned.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("prod.toml:2:12"), "{log}");
    assert!(log.contains("this is the lowest layer"), "{log}");
}

#[test]
fn a_folder_belongs_to_one_layer() {
    let base = sample::shop();
    let twice = Start::new(&base.tree(), &base.data()).layer(base.tree());
    let (status, log) = twice.expect_refusal();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("is given twice"), "{log}");
    base.write("prod/reader.toml", NARROW_READER);
    let within = Start::new(&base.tree(), &base.data()).layer(base.tree().join("prod"));
    let (status, log) = within.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("lies within the layer"), "{log}");
}

#[test]
fn an_empty_layer_never_replaces_a_full_one() {
    let (_base, above, gateway) = start(&[("prod.toml", NARROW_READER)]);
    gateway.claim("refused");
    above.remove("prod.toml");
    let attempt = gateway.wait_for_refusal();
    let problem = &attempt["problems"][0];
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.contains("is empty, and an empty layer"),
        "{attempt}"
    );
    assert!(
        message.contains(above.tree().to_str().unwrap()),
        "{attempt}"
    );
    gateway
        .client_with(READER)
        .get(INVOICE)
        .expect_error(403, "forbidden");
    above.write("prod.toml", "# nothing is replaced any more\n");
    gateway.wait_for_generation_after(1);
    gateway.client_with(READER).get(INVOICE).expect_ok();
    gateway.stop();
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .output()
        .expect("git is installed");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{errors}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Makes a repository of a folder and commits what is in it.
fn commit(folder: &Path) -> String {
    git(folder, &["init", "-q"]);
    git(folder, &["add", "."]);
    git(folder, &["commit", "-qm", "a"]);
    git(folder, &["rev-parse", "HEAD"])
}

#[test]
fn layers_of_one_commit_are_named_after_it_and_others_after_their_digest() {
    let repository = sample::shop();
    for file in ["shop.toml", "people.toml"] {
        let folder = repository.tree().join("base");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::rename(repository.tree().join(file), folder.join(file)).unwrap();
    }
    repository.write("prod/prod.toml", NARROW_READER);
    let (base, prod) = (
        repository.tree().join("base"),
        repository.tree().join("prod"),
    );
    let head = commit(&repository.tree());
    let gateway = Start::new(&base, &repository.data()).layer(&prod).start();
    let status = gateway.status();
    assert_eq!(status["commit"], head);
    assert_eq!(status["dirty"], false);
    assert_eq!(status["revision"], format!("g1-{}", &head[..12]));
    let layers = status["layers"].as_array().unwrap();
    let sources: Vec<&str> = layers
        .iter()
        .map(|layer| layer["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, [base.to_str().unwrap(), prod.to_str().unwrap()]);
    assert!(
        layers
            .iter()
            .all(|layer| layer["commit"] == head && layer["dirty"] == false)
    );
    assert_ne!(layers[0]["digest"], layers[1]["digest"]);
    assert_eq!(layers[0]["files"], 2);
    // One layer differs from the commit: so does the whole.
    repository.write("prod/prod.toml", format!("# new\n{NARROW_READER}"));
    gateway.wait_for_generation_after(1);
    let status = gateway.status();
    let digest = status["digest"].as_str().unwrap();
    assert_eq!(status["revision"], format!("g2-{}", &digest[..12]));
    assert_eq!(status["layers"][0]["dirty"], false);
    assert_eq!(status["layers"][1]["dirty"], true);
    gateway.stop();

    // Two repositories have no commit in common.
    let base = sample::shop();
    let first = commit(&base.tree());
    let above = WatchedDirectory::with(&[("prod.toml", NARROW_READER)]);
    let second = commit(&above.tree());
    let gateway = Start::new(&base.tree(), &base.data())
        .layer(above.tree())
        .start();
    let status = gateway.status();
    assert_eq!(status["commit"], Value::Null);
    let digest = status["digest"].as_str().unwrap();
    assert_eq!(status["revision"], format!("g1-{}", &digest[..12]));
    assert_eq!(status["layers"][0]["commit"], first);
    assert_eq!(status["layers"][1]["commit"], second);
    gateway.stop();
}

#[test]
fn one_tree_says_nothing_of_layers() {
    let base = sample::shop();
    let gateway = TestGateway::start_with_data(base.tree(), base.data());
    assert_eq!(gateway.status().get("layers"), None);
    gateway.stop();
}

/// The commands of a text that ask the API, each with the answer below it.
fn promises(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("```sh\n").skip(1);
    let pairs = blocks.filter_map(|block| {
        let (command, rest) = block.split_once("```\n```json\n")?;
        let answer = rest.split("```").next()?;
        Some((command.to_owned(), answer.trim().to_owned()))
    });
    pairs.collect()
}

#[test]
fn the_example_gives_the_answers_of_its_readme() {
    let readme = include_str!("../../examples/overlays/README.md");
    let (alone, together) = readme.split_once("## With the layer").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| root.join("examples/overlays").join(name);
    let start = || Start::new(&folder("base"), &root.join("gateway.d"));
    for (gateway, text) in [
        (start().start(), alone),
        (start().layer(folder("prod")).start(), together),
    ] {
        let promises = promises(text);
        assert!(!promises.is_empty());
        for (command, answer) in promises {
            let command = command.replace("127.0.0.1:8080", &gateway.api.to_string());
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.trim(), answer, "{command}");
        }
        gateway.stop();
    }
}

#[test]
fn the_example_shows_what_check_says_without_override() {
    let readme = include_str!("../../examples/overlays/README.md");
    let shown = readme.split("```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let root = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/overlays");
    for layer in ["base", "prod"] {
        let target = root.path().join("examples/overlays").join(layer);
        std::fs::create_dir_all(&target).unwrap();
        for entry in std::fs::read_dir(source.join(layer)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("override = true\nlabel", "label");
            std::fs::write(target.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    let layers = "examples/overlays/base,examples/overlays/prod";
    let (code, said) = tidegate(root.path(), None, &["check", "--config", layers]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with(shown), "{said}");
}

/// Runs the binary in a folder: its exit code, and what it wrote.
fn tidegate(folder: &Path, config: Option<&str>, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder);
    match config {
        Some(config) => command.env("TIDEGATE_CONFIG", config),
        None => command.env_remove("TIDEGATE_CONFIG"),
    };
    let output = command.output().unwrap();
    let written = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(written).unwrap())
}

#[test]
fn check_takes_folders_alone_or_as_layers() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("base", "[role.reader]\n"),
        ("prod", "[role.reader]\noverride = true\n"),
    ] {
        std::fs::create_dir(root.path().join(name)).unwrap();
        std::fs::write(root.path().join(name).join("a.toml"), text).unwrap();
    }
    let check = |config: Option<&str>, arguments: &[&str]| {
        tidegate(root.path(), config, &[&["check"], arguments].concat())
    };
    let together = (Some(0), "no problems in 2 files\n".to_owned());
    assert_eq!(
        check(None, &["--config", "base", "--config", "prod"]),
        together
    );
    assert_eq!(check(None, &["--config", "base,prod"]), together);
    assert_eq!(check(Some("base,prod"), &[]), together);
    assert_eq!(check(Some("prod"), &["--config", "base,prod"]), together);
    // Folders that are named are trees of their own, whatever is served.
    let (code, said) = check(Some("base,prod"), &["base", "prod"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("prod/a.toml:2:12"), "{said}");
    assert!(said.contains("--config LOWER --config THIS"), "{said}");
    let (code, said) = check(None, &["--config", "prod,base"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("prod/a.toml:2:12"), "{said}");
    for misuse in [
        &["--config", "base", "prod"][..],
        &["--config", "base,base"],
    ] {
        assert_eq!(check(None, misuse).0, Some(2), "{misuse:?}");
    }
    let (code, said) = check(None, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("gateway.d"), "{said}");
    let (_, said) = check(None, &["--format", "json", "--config", "base,prod"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["trees"][0]["folder"], "base, prod");
    assert_eq!(said["trees"][0]["errors"], 0);
}
