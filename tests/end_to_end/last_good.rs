//! What does a start on a broken tree do?

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
const BROKEN: &str = "[service.broken]\ntype = \"sqlite\"\nlable = \"x\"\n";

/// The shop, and a place for its last good tree.
struct Kept {
    directory: WatchedDirectory,
    state: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self {
            directory: sample::shop(),
            state: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self) -> Start {
        Start::new(&self.directory.tree(), &self.directory.data()).state(self.state.path())
    }

    /// Serves the tree until it is kept, and ends.
    fn keep(&self) -> Value {
        let gateway = self.start().start();
        let status = wait_until_kept(&gateway);
        gateway.stop();
        status
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("last-good/tree")
    }
}

fn wait_until_kept(gateway: &TestGateway) -> Value {
    eventually("the tree that is served is kept", 30, || {
        let status = gateway.status();
        (status["last_good"]["digest"] == status["digest"]).then_some(status)
    })
}

fn metric(gateway: &TestGateway, name: &str) -> String {
    let text = gateway.operations("/metrics").text();
    text.lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")))
        .unwrap_or_else(|| panic!("{name} is not in\n{text}"))
        .to_owned()
}

#[test]
fn a_start_on_a_broken_tree_serves_the_last_good_one_says_so_and_heals() {
    let kept = Kept::new();
    let before = kept.keep();
    assert_eq!(before["source"], "tree");
    kept.directory.write("broken.toml", BROKEN);

    let gateway = kept.start().start();
    gateway.claim("refused");
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();
    let status = gateway.status();
    assert_eq!(status["digest"], before["digest"]);
    assert_eq!(status["degraded"], true);
    assert_eq!(status["source"], "last-good");
    assert_eq!(status["accepted_at"], before["last_good"]["accepted_at"]);
    assert_eq!(status["last_attempt"]["outcome"], "refused");
    let problems = status["last_attempt"]["problems"].to_string();
    assert!(problems.contains("label"), "{problems}");
    let ready = gateway.operations("/readyz");
    assert_eq!(ready.status, 200);
    assert!(ready.text().starts_with("ready, degraded g1-"));
    assert_eq!(metric(&gateway, "tidegate_serves_last_good"), "1");
    assert_eq!(metric(&gateway, "tidegate_last_reload_successful"), "0");
    let log = gateway.log();
    assert!(
        log.contains("serving the last good tree") && log.contains("broken.toml:3:1"),
        "{log}"
    );

    // The very tree that is served, and still it goes live: what is served is a stopgap no more.
    kept.directory.remove("broken.toml");
    gateway.wait_for_generation_after(1);
    let status = gateway.status();
    assert_eq!(status["digest"], before["digest"]);
    assert_eq!(status["degraded"], false);
    assert_eq!(status["source"], "tree");
    assert_eq!(metric(&gateway, "tidegate_serves_last_good"), "0");
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

type Break = fn(&WatchedDirectory);

#[test]
fn whatever_is_wrong_with_the_tree_the_last_good_one_is_served() {
    let breaks: [(&str, Break); 4] = [
        ("no such file or folder", |directory| {
            std::fs::remove_dir_all(directory.tree()).unwrap();
        }),
        ("no manifests", |directory| {
            directory.remove("shop.toml");
            directory.remove("people.toml");
        }),
        ("the tree is empty", |directory| {
            directory.remove("shop.toml");
            directory.remove("people.toml");
            directory.write("lookup.toml", "[lookup]\nteam = \"x\"\n");
        }),
        ("is not set", |directory| {
            directory.write(
                "second.toml",
                "[service.second]\ntype = \"pgsql\"\n[service.second.config]\nhost = \"127.0.0.1\"\n\
                 database = \"x\"\nusername = \"x\"\npassword = { env = \"SECRET_OF_THE_LAST_GOOD_TEST\" }\n",
            );
        }),
    ];
    for (why, break_it) in breaks {
        let kept = Kept::new();
        kept.keep();
        break_it(&kept.directory);
        let gateway = kept.start().start();
        gateway.claim("refused");
        gateway.claim("cannot be watched");
        let status = gateway.status();
        assert_eq!(status["source"], "last-good", "{why}");
        let problems = status["last_attempt"]["problems"].to_string();
        assert!(problems.contains(why), "{why}: {problems}");
        gateway.client_with(READER).get(CUSTOMER).expect_ok();
        gateway.stop();
    }
}

#[test]
fn a_first_start_and_a_start_that_may_not_fall_back_end_with_what_is_wrong() {
    let kept = Kept::new();
    kept.directory.write("broken.toml", BROKEN);
    let (status, log) = kept.start().expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("broken.toml:3:1"), "{log}");
    assert!(!kept.file().exists(), "a refused tree is never kept");

    kept.directory.remove("broken.toml");
    kept.keep();
    kept.directory.write("broken.toml", BROKEN);
    let start = kept.start().arguments(&["--on-bad-start", "fail"]);
    let (status, log) = start.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("broken.toml:3:1"), "{log}");
}

#[test]
fn a_last_good_tree_that_is_torn_or_of_another_daemon_is_never_served() {
    let kept = Kept::new();
    kept.keep();
    let whole = std::fs::read(kept.file()).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    kept.directory.write("broken.toml", BROKEN);
    for (bytes, why) in [
        (whole[..whole.len() / 2].to_vec(), "changed or cut short"),
        (Vec::new(), "not written by Tidegate"),
        (
            text.replace("verbs = [\"GET\"]", "verbs = [\"PUT\"]")
                .into_bytes(),
            "changed or cut short",
        ),
    ] {
        assert_ne!(bytes, whole);
        std::fs::write(kept.file(), &bytes).unwrap();
        let (status, log) = kept.start().expect_refusal();
        assert_eq!(status.code(), Some(1), "{log}");
        for expected in [why, "broken.toml:3:1", "and the last good tree"] {
            assert!(log.contains(expected), "{expected} is not in\n{log}");
        }
    }
    std::fs::write(kept.file(), &whole).unwrap();
    let other = sample::shop();
    other.write("broken.toml", BROKEN);
    let start = Start::new(&other.tree(), &other.data()).state(kept.state.path());
    let (status, log) = start.expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a --state-dir of its own"), "{log}");

    // A good tree takes the place of what cannot be used.
    kept.directory.remove("broken.toml");
    std::fs::write(kept.file(), &whole[..100]).unwrap();
    let gateway = kept.start().start();
    gateway.claim("the last good tree cannot be used");
    wait_until_kept(&gateway);
    gateway.stop();
    kept.directory.write("broken.toml", BROKEN);
    let gateway = kept.start().start();
    gateway.claim("refused");
    assert_eq!(gateway.status()["source"], "last-good");
    gateway.stop();
}

#[test]
fn a_last_good_tree_whose_secret_is_gone_shows_what_is_wrong_with_both() {
    let kept = Kept::new();
    let secret = kept.state.path().join("secret");
    std::fs::write(&secret, "hunter2-must-not-leak").unwrap();
    kept.directory.write(
        "second.toml",
        format!(
            "[service.second]\ntype = \"pgsql\"\n[service.second.config]\nhost = \"127.0.0.1\"\nport = 9\n\
             database = \"x\"\nusername = \"x\"\npassword = {{ file = \"{}\" }}\n",
            secret.display()
        ),
    );
    let gateway = kept.start().start();
    gateway.claim("does not answer");
    wait_until_kept(&gateway);
    gateway.stop();
    let stored = std::fs::read_to_string(kept.file()).unwrap();
    assert!(!stored.contains("hunter2"), "a value of a secret is kept");

    kept.directory.write("broken.toml", BROKEN);
    std::fs::remove_file(&secret).unwrap();
    let (status, log) = kept.start().expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    for expected in ["broken.toml:3:1", "does not exist", "second.toml:8:12"] {
        assert!(log.contains(expected), "{expected} is not in\n{log}");
    }
}

#[test]
fn what_the_host_lacks_is_looked_for_again() {
    let kept = Kept::new();
    kept.keep();
    let host = tempfile::tempdir().unwrap();
    let (secret, authority) = (host.path().join("secret"), host.path().join("ca.pem"));
    kept.directory.write(
        "second.toml",
        format!(
            "[service.second]\ntype = \"pgsql\"\n[service.second.config]\nhost = \"127.0.0.1\"\nport = 9\n\
             database = \"x\"\nusername = \"x\"\npassword = {{ file = \"{}\" }}\ntls = \"verify\"\nca = \"{}\"\n",
            secret.display(),
            authority.display()
        ),
    );
    let gateway = kept
        .start()
        .environment("TIDEGATE_POLL_SECONDS", "1")
        .start();
    gateway.claim("refused");
    gateway.claim("does not answer");
    let problems = || gateway.status()["last_attempt"]["problems"].to_string();
    assert!(problems().contains("does not exist"), "{}", problems());

    std::fs::write(&secret, "hunter2").unwrap();
    eventually("the next thing that is missing", 30, || {
        problems().contains("ca.pem").then_some(())
    });
    let log = gateway.log();
    assert!(
        log.contains("the service `second` cannot be opened") && log.contains("second.toml:3:"),
        "{log}"
    );
    assert_eq!(gateway.status()["source"], "last-good");
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
        ])
        .args(["-subj", "/CN=x", "-keyout", "/dev/null", "-out"])
        .arg(&authority)
        .output()
        .expect("openssl is there");
    assert!(made.status.success());
    gateway.wait_for_generation_after(1);
    assert_eq!(gateway.status()["source"], "tree");
    gateway.stop();
}

#[test]
fn a_refused_tree_is_not_kept_and_an_equal_one_not_again() {
    let kept = Kept::new();
    let before = kept.keep();
    let inode = || std::fs::metadata(kept.file()).unwrap().ino();
    let written = inode();

    let gateway = kept.start().start();
    gateway.claim("refused");
    let status = wait_until_kept(&gateway);
    assert_eq!(status["last_good"], before["last_good"], "its time as well");
    assert_eq!(metric(&gateway, "tidegate_last_good_kept"), "1");
    kept.directory.write("broken.toml", BROKEN);
    gateway.wait_for_refusal();
    assert_eq!(gateway.status()["last_good"], before["last_good"]);
    assert_eq!(inode(), written, "nothing new was written");

    kept.directory
        .write("broken.toml", sqlite_service("second", "shop.db"));
    gateway.wait_for_generation_after(1);
    let status = wait_until_kept(&gateway);
    assert_ne!(status["last_good"]["digest"], before["digest"]);
    assert_ne!(inode(), written);
    gateway.stop();
}

#[test]
fn a_place_that_cannot_be_written_is_reported_and_stops_nothing() {
    let kept = Kept::new();
    let file = kept.state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let start = Start::new(&kept.directory.tree(), &kept.directory.data());
    let gateway = start.state(&file).start();
    gateway.claim("cannot be kept");
    gateway.claim("cannot be used");
    let problem = eventually("a report", 30, || {
        let problem = gateway.status()["last_good"]["problem"].clone();
        (metric(&gateway, "tidegate_last_good_failures_total") != "0").then_some(problem)
    });
    assert!(problem.is_string(), "{problem}");
    assert_eq!(metric(&gateway, "tidegate_last_good_kept"), "0");
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();

    std::fs::remove_file(&file).unwrap();
    kept.directory
        .write("second.toml", sqlite_service("second", "shop.db"));
    gateway.wait_for_generation_after(1);
    client.get("/api/v2/second/_table").expect_ok();
    let status = wait_until_kept(&gateway);
    assert_eq!(status["last_good"]["problem"], Value::Null);
    gateway.stop();
}

#[test]
fn the_state_directory_of_systemd_is_used_and_none_is_said() {
    let kept = Kept::new();
    let state = kept.state.path().to_str().unwrap();
    let gateway = Start::new(&kept.directory.tree(), &kept.directory.data())
        .environment("STATE_DIRECTORY", &format!("{state}:/elsewhere"))
        .start();
    wait_until_kept(&gateway);
    assert_eq!(gateway.status()["last_good"]["directory"], state);
    gateway.stop();

    let gateway = TestGateway::start_with_data(kept.directory.tree(), kept.directory.data());
    assert_eq!(gateway.status()["last_good"], Value::Null);
    assert!(gateway.log().contains("no last good tree is kept"));
    gateway.stop();
}

fn check(source: &str) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(["check", source])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (
        output.status.code(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

fn state_source(state: &Path) -> String {
    format!("state:{}", state.display())
}

#[test]
fn what_is_kept_is_a_source_with_its_layers_and_positions() {
    let kept = Kept::new();
    let source = state_source(kept.state.path());
    let (code, text) = check(&source);
    assert_eq!(code, Some(1));
    assert!(text.contains("no last good tree is kept here"), "{text}");
    let above = WatchedDirectory::with(&[("more.toml", "[lookup]\nteam = \"x\"\n")]);
    let gateway = kept
        .start()
        .arguments(&["--config", above.tree().to_str().unwrap()])
        .start();
    wait_until_kept(&gateway);
    kept.directory.write("broken.toml", BROKEN);
    let (code, text) = check(&source);
    assert_eq!((code, text.as_str()), (Some(0), "no problems in 3 files\n"));
    gateway.claim("refused");
    gateway.stop();

    let start = Start::new(Path::new(&source), &kept.directory.data());
    let (status, log) = start.expect_refusal();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("not a source to serve"), "{log}");
}

#[test]
fn a_daemon_that_is_killed_while_it_writes_leaves_a_whole_tree() {
    let kept = Kept::new();
    kept.keep();
    // Large enough that a kill may meet a write.
    kept.directory
        .write("large.toml", "# a comment of many lines\n".repeat(30_000));
    let source = state_source(kept.state.path());
    for round in 0..8_u64 {
        let gateway = kept.start().start();
        let text = format!("# {round}\n{}", sqlite_service("second", "shop.db"));
        kept.directory.write("second.toml", text);
        gateway.wait_for_generation_after(0);
        std::thread::park_timeout(std::time::Duration::from_millis(40 * round));
        gateway.signal("KILL");
        drop(gateway);
        let (code, text) = check(&source);
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn a_layer_that_is_lost_at_a_start_does_not_take_the_place_of_a_full_one() {
    let directory = sample::shop();
    let above = directory.base().join("above");
    std::fs::create_dir(&above).unwrap();
    let manifest = above.join("second.toml");
    std::fs::write(&manifest, sqlite_service("second", "shop.db")).unwrap();
    let state = tempfile::tempdir().unwrap();
    let start = || {
        Start::new(&directory.tree(), &directory.data())
            .arguments(&["--config", above.to_str().unwrap()])
            .state(state.path())
    };
    let gateway = start().start();
    wait_until_kept(&gateway);
    gateway.stop();
    // As a volume that is not mounted yet.
    std::fs::remove_file(&manifest).unwrap();
    let gateway = start().start();
    gateway.claim("refused");
    let status = gateway.status();
    assert_eq!(status["source"], "last-good");
    assert!(
        status["last_attempt"].to_string().contains("is empty"),
        "{status}"
    );
    gateway
        .client_with(READER)
        .get("/api/v2/second/_table/customer")
        .expect_ok();
    gateway.stop();
}
