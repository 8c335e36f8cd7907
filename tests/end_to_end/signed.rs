//! Is only that served which somebody signed who may?

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::signing::{Signing, With};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

/// A bare repository that is served, a clone where commits are made, and the keys that sign them.
struct Deployment {
    signing: Signing,
    clone: PathBuf,
    data: WatchedDirectory,
}

impl Deployment {
    fn new() -> Self {
        let signing = Signing::new();
        let (bare, clone) = (signing.path("config.git"), signing.path("clone"));
        let home = signing.path("");
        signing.git(&home, &["init", "-q", "--bare", bare.to_str().unwrap()]);
        let arguments = [bare.to_str().unwrap(), clone.to_str().unwrap()];
        signing.git(&home, &["clone", "-q", arguments[0], arguments[1]]);
        let data = sample::shop();
        std::fs::create_dir(clone.join("gateway.d")).unwrap();
        let deployment = Self {
            signing,
            clone,
            data,
        };
        deployment.write("shop.toml", &sqlite_service("shop", "shop.db"));
        deployment.write("people.toml", &sample::people());
        deployment
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.clone.join("gateway.d").join(name), text).unwrap();
    }

    /// Commits the clone as it is and pushes it; gives the id of the commit.
    fn push(&self, with: With<'_>) -> String {
        let id = self.signing.commit(&self.clone, "change", with);
        let push = ["push", "-q", "origin", "HEAD:refs/heads/main"];
        self.signing.git(&self.clone, &push);
        id
    }

    fn source(&self) -> String {
        format!(
            "git:{}#main:gateway.d",
            self.signing.path("config.git").display()
        )
    }

    /// Replaces the file of signers as a whole.
    fn allow(&self, signers: &str) -> PathBuf {
        let fresh = self.signing.write("signers.new", signers);
        let file = self.signing.path("signers");
        std::fs::rename(fresh, &file).unwrap();
        file
    }

    /// A daemon that asks for no signature.
    fn trusting(&self) -> Start {
        Start::new(Path::new(&self.source()), &self.data.data())
            .environment("TIDEGATE_POLL_SECONDS", "1")
    }

    fn start(&self) -> Start {
        let signers = self.signing.path("signers");
        self.trusting()
            .environment("TIDEGATE_REQUIRE_SIGNED", signers.to_str().unwrap())
    }
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .arg("check")
        .args(arguments)
        .env_remove("TIDEGATE_REQUIRE_SIGNED")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Waits until this commit is served.
fn serves(gateway: &TestGateway, commit: &str) {
    eventually(&format!("{commit}\n{}", gateway.log()), 30, || {
        let status = gateway.status();
        (status["commit"] == commit && status["degraded"] == false).then_some(())
    });
}

/// Waits until the last attempt was refused with these words.
fn refuses(gateway: &TestGateway, words: &[&str]) {
    eventually(
        &format!("refused: {words:?}\n{}", gateway.log()),
        30,
        || {
            let attempt = gateway.status()["last_attempt"].to_string();
            (attempt.contains("refused") && words.iter().all(|word| attempt.contains(word)))
                .then_some(())
        },
    );
}

#[test]
fn only_a_commit_that_is_signed_by_who_may_goes_live() {
    let deployment = Deployment::new();
    let signing = &deployment.signing;
    let ann = signing.ssh_key("ann", "ed25519");
    let (bo, fingerprint) = signing.openpgp_key("bo", "never", &[]);
    signing.ssh_key("eve", "ed25519");
    let signers = deployment.allow(&format!("ann@example.org {ann}\n{bo}"));
    let first = deployment.push(With::Ssh("ann"));
    let gateway = deployment.start().start();
    gateway.claim("the tree is refused");
    serves(&gateway, &first);
    assert_eq!(gateway.status()["signer"], "ann@example.org");
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();

    deployment.write("second.toml", &sqlite_service("second", "shop.db"));
    let unsigned = deployment.push(With::Nothing);
    refuses(&gateway, &[&unsigned[..12], "is not signed"]);
    let help = gateway.status()["last_attempt"]["problems"][0]["help"].clone();
    let names = signers.to_str().unwrap();
    assert!(help.as_str().unwrap().contains(names), "{help}");
    deployment.push(With::Ssh("eve"));
    refuses(&gateway, &["is signed with SHA256:", "does not allow"]);
    assert_eq!(gateway.generation(), 1);
    assert_eq!(gateway.status()["commit"], first.as_str());
    assert!(gateway.operations("/readyz").text().contains("degraded"));
    client.get(CUSTOMER).expect_ok();
    client
        .get("/api/v2/second/_table")
        .expect_error(404, "unknown_service");

    let second = deployment.push(With::OpenPgp("bo", &[]));
    serves(&gateway, &second);
    assert_eq!(gateway.status()["signer"], fingerprint.as_str());
    client.get("/api/v2/second/_table/customer").expect_ok();
    // Each refusal is told once, however often the tree was looked at.
    eventually("some more looks", 30, || {
        let metrics = gateway.operations("/metrics").text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("tidegate_reloads_total{outcome=\"unchanged\"}"))?;
        let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
        (count >= 2.0).then_some(())
    });
    assert_eq!(gateway.log().matches("is not signed").count(), 1);
    gateway.stop();
}

#[test]
fn a_signer_who_is_removed_signs_nothing_more_and_takes_nothing_away() {
    let deployment = Deployment::new();
    let signing = &deployment.signing;
    let ann = format!("ann@example.org {}\n", signing.ssh_key("ann", "ed25519"));
    let bo = format!("bo@example.org {}\n", signing.ssh_key("bo", "ed25519"));
    deployment.allow(&ann);
    let first = deployment.push(With::Ssh("ann"));
    let gateway = deployment.start().start();
    gateway.claim("the tree is refused");
    serves(&gateway, &first);

    deployment.allow(&bo);
    refuses(&gateway, &[&first[..12], "does not allow"]);
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();
    assert_eq!(gateway.generation(), 1);
    deployment.write("second.toml", &sqlite_service("second", "shop.db"));
    let second = deployment.push(With::Ssh("ann"));
    refuses(&gateway, &[&second[..12], "does not allow"]);
    client.get(CUSTOMER).expect_ok();
    assert_eq!(gateway.status()["commit"], first.as_str());

    // Both may, for a while: that is how keys are exchanged.
    deployment.allow(&format!("{ann}{bo}"));
    serves(&gateway, &second);
    assert_eq!(gateway.status()["signer"], "ann@example.org");
    let third = deployment.push(With::Ssh("bo"));
    serves(&gateway, &third);
    deployment.allow(&bo);
    gateway.signal("HUP");
    serves(&gateway, &third);

    // A file that is broken or gone allows nobody, and says so.
    deployment.allow("bo@example.org\n");
    refuses(&gateway, &["signers:1: this is no allowed signer"]);
    std::fs::remove_file(signing.path("signers")).unwrap();
    refuses(&gateway, &["the file of signers cannot be read"]);
    client.get(CUSTOMER).expect_ok();
    deployment.allow(&bo);
    serves(&gateway, &third);
    gateway.stop();
}

#[test]
fn a_start_and_a_check_ask_for_the_same_signatures() {
    let deployment = Deployment::new();
    let signing = &deployment.signing;
    let ann = signing.ssh_key("ann", "ed25519");
    let signers = deployment.allow(&format!("ann@example.org {ann}\n"));
    let signers = signers.to_str().unwrap();
    deployment.push(With::Nothing);
    let (status, said) = deployment.start().expect_refusal();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is not signed"), "{said}");
    let source = deployment.source();
    let (code, said) = check(&["--require-signed", signers, &source]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not signed") && said.contains("git commit --amend -S"));
    assert_eq!(check(&[&source]).0, Some(0));

    deployment.push(With::Ssh("ann"));
    let (code, said) = check(&["--require-signed", signers, &source]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&["--require-signed", "no/such/file", &source]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no/such/file"), "{said}");

    // A folder is nothing that anybody signs.
    let tree = deployment.data.tree();
    let (code, said) = check(&["--require-signed", signers, tree.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--config git:"), "{said}");
    let (status, said) = Start::new(&tree, &deployment.data.data())
        .environment("TIDEGATE_REQUIRE_SIGNED", signers)
        .expect_refusal();
    assert_eq!(status.code(), Some(2), "{said}");
}

#[test]
fn the_last_good_tree_is_served_only_if_it_was_signed() {
    let deployment = Deployment::new();
    let signing = &deployment.signing;
    let ann = signing.ssh_key("ann", "ed25519");
    deployment.allow(&format!("ann@example.org {ann}\n"));
    let state = signing.path("state");
    let keeping = |start: Start| start.environment("TIDEGATE_STATE_DIR", state.to_str().unwrap());
    let is_kept = |gateway: &TestGateway| {
        eventually("the tree is kept", 30, || {
            let metrics = gateway.operations("/metrics").text();
            metrics.contains("tidegate_last_good_kept 1").then_some(())
        });
    };

    deployment.push(With::Nothing);
    let gateway = keeping(deployment.trusting()).start();
    assert_eq!(gateway.status()["signer"], serde_json::Value::Null);
    is_kept(&gateway);
    gateway.stop();
    let (status, said) = keeping(deployment.start()).expect_refusal();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is not signed"), "{said}");
    assert!(
        said.contains("nobody asked who signed the last good tree"),
        "{said}"
    );

    let first = deployment.push(With::Ssh("ann"));
    let gateway = keeping(deployment.start()).start();
    gateway.claim("the last good tree cannot be used");
    serves(&gateway, &first);
    is_kept(&gateway);
    gateway.stop();
    deployment.push(With::Nothing);
    let gateway = keeping(deployment.start()).start();
    gateway.claim("the tree is refused");
    let status = gateway.status();
    assert_eq!(status["source"], "last-good");
    assert_eq!(
        (&status["commit"], &status["signer"]),
        (&first.into(), &"ann@example.org".into())
    );
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    gateway.stop();
}
