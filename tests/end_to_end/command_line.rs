//! What do the other commands say?

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::WatchedDirectory;
use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, digest};

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let directory = sample::shop();
    let tree = directory.tree();
    let tree = tree.to_str().unwrap();
    let good = tidegate(&["check", tree]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));

    directory.write(
        "bad.toml",
        format!(
            "[service.bad]\ntype = \"sqlight\"\n\n[key.k]\nrole = \"nobody\"\nsha256 = [\"{}\"]\n",
            digest("k")
        ),
    );
    let bad = tidegate(&["check", tree]);
    assert_eq!(bad.status.code(), Some(1));
    let shown = text(&bad.stdout) + &text(&bad.stderr);
    for expected in ["bad.toml:2:", "sqlite", "bad.toml:5:", "nobody", "^"] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours without a terminal");

    let bad = tidegate(&["check", "--format", "json", tree]);
    assert_eq!(bad.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert!(shown.to_string().contains("bad.toml"), "{shown}");
}

#[test]
fn the_same_name_twice_shows_both_places() {
    let directory = sample::shop();
    directory.write("again.toml", sample::sqlite_service("shop", "shop.db"));
    let bad = tidegate(&["check", directory.tree().to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
    let shown = text(&bad.stdout) + &text(&bad.stderr);
    assert!(
        shown.contains("again.toml") && shown.contains("shop.toml"),
        "{shown}"
    );
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["no-such-command"][..],
        &["serve", "--no-such-flag"],
        &["check", "--format", "yaml"],
        &["serve", "--log", "loud"],
    ] {
        assert_eq!(tidegate(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(tidegate(&["--help"]).status.code(), Some(0));
    assert_eq!(tidegate(&["--version"]).status.code(), Some(0));
    let missing = tidegate(&["check", "no/such/folder"]);
    assert_ne!(missing.status.code(), Some(0));
}

#[test]
fn keys_are_made_and_hashed() {
    let hashed = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "printf 'a-key-to-hash-0123456789\\n' | {} key hash",
            binary().display()
        ))
        .output()
        .unwrap();
    assert_eq!(hashed.status.code(), Some(0), "{}", text(&hashed.stderr));
    assert!(text(&hashed.stdout).contains(&digest("a-key-to-hash-0123456789")));
    let first = tidegate(&["key", "new", "--format", "json"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let made: Value = serde_json::from_slice(&first.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    assert_eq!(made["sha256"], digest(key));
    assert!(key.len() >= 32);
    assert_ne!(
        first.stdout,
        tidegate(&["key", "new", "--format", "json"]).stdout
    );
}

#[test]
fn schema_and_openapi_and_completions_are_printed() {
    let schema = tidegate(&["schema"]);
    assert_eq!(schema.status.code(), Some(0));
    let committed = std::fs::read("schema/manifest.schema.json").unwrap();
    assert!(schema.stdout == committed, "run `just generate`");
    let completions = tidegate(&["completions", "bash"]);
    assert_eq!(completions.status.code(), Some(0));
    assert!(text(&completions.stdout).contains("tidegate"));
}

#[test]
fn every_command_has_a_manual_page_that_can_be_read() {
    let printed = tidegate(&["man"]);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("share/man/man1");
    let written = tidegate(&["man", "--output", folder.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let paths = text(&written.stdout);
    let paths: Vec<&std::path::Path> = paths.lines().map(std::path::Path::new).collect();
    assert!(printed.stdout == std::fs::read(paths[0]).unwrap());
    let help = text(&tidegate(&["--help"]).stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.map(|line| line.split_whitespace().next().unwrap());
    for command in commands.filter(|command| *command != "help") {
        let page = folder.join(format!("tidegate-{command}.1"));
        assert!(paths.contains(&page.as_path()), "no page for {command}");
    }
    assert!(paths.contains(&folder.join("tidegate-key-new.1").as_path()));
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains(&format!("\n.TH {name} 1 \" \" \"Tidegate ")),
            "{page}"
        );
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "\"EXIT STATUS\"",
        ] {
            assert!(
                page.contains(&format!("\n.SH {section}\n")),
                "{name}: {section}"
            );
        }
        // Where there is a man, it finds nothing to complain of.
        let rendered = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(path)
            .env("MANWIDTH", "200")
            .env("LC_ALL", "C.UTF-8")
            .output();
        let Ok(rendered) = rendered else {
            eprintln!("no man here; only the source of {name} was looked at");
            continue;
        };
        assert!(rendered.status.success(), "{}", text(&rendered.stderr));
        assert_eq!(text(&rendered.stderr), "", "{name}");
        let shown = text(&rendered.stdout);
        let words: Vec<&str> = shown.split_whitespace().collect();
        let usage = format!("SYNOPSIS {}", name.replace('-', " "));
        assert!(words.join(" ").contains(&usage), "{shown}");
    }
}

#[test]
fn a_first_start_on_a_broken_tree_says_why_and_ends() {
    let directory = WatchedDirectory::with(&[("broken.toml", "[service.x\n")]);
    let start = Start::new(&directory.tree(), &directory.data());
    let (status, log) = start.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("broken.toml"), "{log}");
    let directory = sample::shop();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(binary())
        .args([
            "serve",
            "--listen",
            &address,
            "--ops-listen",
            "127.0.0.1:0",
            "--config",
        ])
        .arg(directory.tree())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(shown.contains(&address), "{shown}");
}

#[test]
fn every_command_and_every_flag_is_in_the_readme() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("\n## Command line").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let help = text(&tidegate(&["serve", "--help"]).stdout);
    let flags = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    for flag in flags.filter(|flag| !matches!(*flag, "--help" | "--version" | "--format")) {
        assert!(section.contains(&format!("| `{flag}` |")), "{flag}");
    }
    let help = text(&tidegate(&["--help"]).stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        let command = line.split_whitespace().next().unwrap();
        if command != "help" {
            assert!(
                section.contains(&format!("`tidegate {command}")),
                "{command}"
            );
        }
    }
}

#[test]
fn the_openapi_document_of_a_key_is_a_part_of_the_whole_one() {
    let document = |more: &[&str]| -> Value {
        let output = tidegate(&[&["openapi", "--config", "gateway.d"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let operations = |document: &Value| -> usize {
        let paths = document["paths"].as_object().unwrap();
        paths
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum()
    };
    let whole = document(&[]);
    let part = document(&["--key", "demo"]);
    assert!(whole["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(operations(&part) > 10);
    assert!(operations(&part) < operations(&whole));
    assert!(part.to_string().contains("unit_price"), "real columns");
}
