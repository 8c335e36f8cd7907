//! Does what `tidegate init` writes work at once?

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::TestGateway;
use crate::support::gateway::binary;
use crate::support::sample::digest;

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env_remove("TIDEGATE_CONFIG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    text(&output.stdout)
}

#[test]
fn a_new_user_is_served_by_following_what_is_printed() {
    let root = tempfile::tempdir().unwrap();
    let made = tidegate(root.path(), &["init", "my gateway"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let said = text(&made.stdout);
    assert!(said.contains("cd 'my gateway'"), "{said}");
    let folder = root.path().join("my gateway");

    let checked = tidegate(&folder, &["check"]);
    assert_eq!(
        text(&checked.stdout),
        "no problems in 4 files\n1 expectation holds\n"
    );
    // The key is printed and its digest is written, and not the other way round.
    let key = said
        .lines()
        .find(|line| line.starts_with("tg_"))
        .expect("the key is printed");
    let keys = std::fs::read_to_string(folder.join("gateway.d/keys.toml")).unwrap();
    assert!(keys.contains(&digest(key)) && !keys.contains(key), "{keys}");
    assert!(!said.contains(&digest(key)), "{said}");

    let gateway = TestGateway::start(folder.join("gateway.d"));
    let command = said
        .lines()
        .find(|line| line.trim().starts_with("curl "))
        .expect("there is a command to try");
    let api = gateway.api.to_string();
    let answer = shell(&command.replace("127.0.0.1:8080", &api));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let notes = answer["resource"].as_array().unwrap();
    assert_eq!(notes.len(), 2, "the hidden one does not exist for the role");

    // And so do the commands of its README.
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let commands = readme.split("KEY=tg_…\n").nth(1).unwrap();
    let commands = commands.split("```").next().unwrap();
    let script = format!("KEY={key}\n{commands}").replace("127.0.0.1:8080", &api);
    let said = shell(&script);
    assert!(said.ends_with("{\"resource\":[{\"id\":4}]}"), "{said}");
    let client = gateway.client_with(key);
    assert_eq!(client.get("/api/v2/notes/_table/note").records().len(), 3);
    client
        .request("DELETE", "/api/v2/notes/_table/note/4")
        .send()
        .expect_error(403, "forbidden");
    gateway.stop();
}

#[test]
fn what_is_written_is_complete_and_good_for_editors() {
    let root = tempfile::tempdir().unwrap();
    let made = tidegate(root.path(), &["init", "new/deep", "--format", "json"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["sha256"], digest(made["key"].as_str().unwrap()));
    let folder = root.path().join("new/deep");
    for name in made["files"].as_array().unwrap() {
        let path = folder.join(name.as_str().unwrap());
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.is_empty());
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && path.parent() != Some(&folder)
        {
            let text = text(&bytes);
            let schema = text.lines().next().unwrap();
            let schema = schema.strip_prefix("#:schema ").unwrap();
            assert!(path.parent().unwrap().join(schema).is_file(), "{schema}");
        }
    }
    let schema = std::fs::read(folder.join("schema/manifest.schema.json")).unwrap();
    assert!(schema == tidegate(&folder, &["schema"]).stdout);
    // Everything but the data belongs to the repository.
    let listed = shell(&format!(
        "cd '{}' && git init -q && git add . && git ls-files",
        folder.display()
    ));
    let mut listed: Vec<&str> = listed.lines().collect();
    let mut expected: Vec<&str> = made["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .filter(|name| !name.contains("/data/"))
        .collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("thesis.txt"), "years").unwrap();
    let refused = tidegate(root.path(), &["init", "."]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("it has thesis.txt"));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    let refused = tidegate(root.path(), &["init", "thesis.txt"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(tidegate(root.path(), &["init"]).status.code(), Some(2));
    // A repository without files is as good as an empty folder.
    let repository = root.path().join("repository");
    shell(&format!("git init -q '{}'", repository.display()));
    let made = tidegate(root.path(), &["init", "repository"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
}
