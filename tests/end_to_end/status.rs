//! Does whoever asks learn what is live?

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::sample;
use crate::support::{TestGateway, WatchedDirectory, eventually};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("status").args(arguments);
    for name in ["TIDEGATE_OPS", "TIDEGATE_WAIT", "TIDEGATE_TIMEOUT"] {
        command.env_remove(name);
    }
    command
}

fn status(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn url(gateway: &TestGateway) -> String {
    format!("http://{}", gateway.operations)
}

#[test]
fn people_and_programs_see_what_is_served() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    eventually("the health of the service", 30, || {
        (gateway.status()["services"][0]["health"] == "up").then_some(())
    });
    let url = url(&gateway);
    let shown = status(&["--ops", &url]);
    let said = text(&shown.stdout);
    assert_eq!(
        shown.status.code(),
        Some(0),
        "{said}{}",
        text(&shown.stderr)
    );
    let document = gateway.status();
    for expected in [
        format!("tidegate at {url}: ready\n"),
        format!("revision  {}\n", document["revision"].as_str().unwrap()),
        format!("digest    {}\n", document["digest"].as_str().unwrap()),
        "shop  sqlite  up\n".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected} is not in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "colours without a terminal");
    let shown = command(&["--format", "json"])
        .env("TIDEGATE_OPS", &url)
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown, document);
    gateway.stop();
}

#[test]
fn a_refused_tree_is_shown_with_its_problems() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("refused");
    directory.write("broken.toml", "[role.reader2]\nactiv = true\n");
    gateway.wait_for_refusal();
    let shown = status(&["--ops", &url(&gateway)]);
    let said = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(1), "{said}");
    for expected in [
        ": ready, degraded: ",
        "broken.toml:2:1\n",
        "help: did you mean `active`?",
        "revision  g1-",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    gateway.stop();
}

#[test]
fn whoever_is_not_there_or_is_no_tidegate_is_said_to_be() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let missing = status(&["--ops", &address]);
    assert_eq!(missing.status.code(), Some(1));
    let said = text(&missing.stderr);
    for expected in ["no tidegate answers at http://127.0.0.1:", "--ops-listen"] {
        assert!(said.contains(expected), "{said}");
    }
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let wrong = status(&["--ops", &gateway.api.to_string()]);
    assert_eq!(wrong.status.code(), Some(1));
    let said = text(&wrong.stderr);
    assert!(said.contains("is not the operations listener"), "{said}");
    gateway.stop();
    for misuse in [
        &["--ops", "https://127.0.0.1:9090"][..],
        &["--wait", "main"],
        &["--timeout", "soon"],
    ] {
        assert_eq!(status(misuse).status.code(), Some(2), "{misuse:?}");
    }
}

/// Answers as a daemon does that finishes what runs; ends with the process.
fn draining() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let (status, body) = if head[0].contains("/readyz") {
                ("503 Service Unavailable", "draining\n")
            } else {
                (
                    "200 OK",
                    "{\"generation\":3,\"revision\":\"g3-abababababab\",\"degraded\":false}",
                )
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    address.to_string()
}

#[test]
fn a_daemon_that_stops_is_not_ready() {
    let address = draining();
    let shown = status(&["--ops", &address]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stdout).contains(": not ready: it stops"));
    let waited = status(&[
        "--ops",
        &address,
        "--wait",
        "g3-abababababab",
        "--timeout",
        "1s",
    ]);
    assert_eq!(waited.status.code(), Some(1), "served, but not for long");
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
    text(&done.stdout).trim().to_owned()
}

#[test]
fn the_commit_of_one_layer_can_be_waited_for() {
    let base = sample::shop();
    let above = WatchedDirectory::with(&[("lookup.toml", "[lookup]\nregion = \"north\"\n")]);
    for tree in [base.tree(), above.tree()] {
        git(&tree, &["init", "-q"]);
        git(&tree, &["add", "."]);
        git(&tree, &["commit", "-qm", "one"]);
    }
    let gateway = Start::new(&base.tree(), &base.data())
        .layer(above.tree())
        .start();
    // No manifest changes, and the two repositories have no commit in common.
    git(
        &above.tree(),
        &["commit", "-q", "--allow-empty", "-m", "two"],
    );
    let two = git(&above.tree(), &["rev-parse", "HEAD"]);
    let output = waiting(&gateway, &two).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(gateway.status()["layers"][1]["commit"], two);
    gateway.stop();
}

fn waiting(gateway: &TestGateway, commit: &str) -> Child {
    command(&["--ops", &url(gateway), "--wait", commit, "--timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_deployment_waits_until_its_commit_is_live() {
    let directory = sample::shop();
    let tree = directory.tree();
    git(&tree, &["init", "-q"]);
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "one"]);
    let one = git(&tree, &["rev-parse", "HEAD"]);
    let text_of_second = sample::sqlite_service("second", "shop.db");
    std::fs::write(tree.join("second.toml"), text_of_second).unwrap();
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-qm", "two"]);
    let two = git(&tree, &["rev-parse", "HEAD"]);
    git(&tree, &["reset", "-q", "--hard", &one]);
    let gateway = TestGateway::start_with_data(&tree, directory.data());
    // What is live already is not waited for.
    let live = status(&["--ops", &url(&gateway), "--wait", &one[..7]]);
    assert_eq!(live.status.code(), Some(0), "{}", text(&live.stderr));
    // What never comes is waited for until the time is over.
    let never = status(&["--ops", &url(&gateway), "--wait", &two, "--timeout", "1s"]);
    assert_eq!(never.status.code(), Some(1));
    let said = text(&never.stderr);
    assert!(said.contains("is not live after 1 s"), "{said}");
    assert!(text(&never.stdout).contains(&one), "what is live instead");

    let mut waits = waiting(&gateway, &two);
    assert!(waits.try_wait().unwrap().is_none());
    git(&tree, &["reset", "-q", "--hard", &two]);
    let output = waits.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&two));
    assert_eq!(gateway.status()["commit"], two);

    // A commit that changes no manifest is live as well, with the same files.
    let digest = gateway.status()["digest"].clone();
    git(&tree, &["commit", "-q", "--allow-empty", "-m", "three"]);
    let newest = git(&tree, &["rev-parse", "HEAD"]);
    let output = waiting(&gateway, &newest).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(gateway.status()["digest"], digest);
    gateway.stop();
}
