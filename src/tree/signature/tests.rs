//! Commits made by real git with real keys.

#![expect(clippy::disallowed_methods, reason = "tests write files")]

#[path = "../../../tests/support/signing.rs"]
mod signing;

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::*;
use signing::{Signing, With};

/// A repository with a first commit that nobody signed.
struct Repository {
    signing: Signing,
    folder: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let signing = Signing::new();
        let folder = signing.path("repository");
        std::fs::create_dir(&folder).unwrap();
        signing.git(&folder, &["init", "-q"]);
        signing.commit(&folder, "first", With::Nothing);
        Self { signing, folder }
    }

    fn commit(&self, with: With<'_>) -> (String, Vec<u8>) {
        let id = self.signing.commit(&self.folder, "change", with);
        let folder = self.folder.to_str().unwrap();
        let arguments = ["-C", folder, "cat-file", "commit", &id];
        let object = self.signing.run("git", &arguments, b"");
        (id, object)
    }

    fn verifier(&self, signers: &str) -> Verifier {
        Verifier::new(self.signing.write("signers", signers))
    }

    /// Who signed, as the verifier with these signers says.
    fn signer(&self, signers: &str, commit: &(String, Vec<u8>)) -> Result<String, String> {
        self.verifier(signers)
            .signer("git:repository#main", &commit.0, &commit.1)
            .map_err(|error| error.message)
    }

    fn refusal(&self, signers: &str, commit: &(String, Vec<u8>)) -> String {
        self.signer(signers, commit).unwrap_err()
    }
}

/// Puts the signature of one commit into another.
fn transplant(from: &[u8], into: &[u8]) -> Vec<u8> {
    let lines = |object: &[u8]| -> Vec<String> {
        let text = String::from_utf8(object.to_vec()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    };
    let mut is_signature = false;
    let signature: Vec<String> = lines(from)
        .into_iter()
        .filter(|line| {
            is_signature = line.starts_with("gpgsig ") || is_signature && line.starts_with(' ');
            is_signature
        })
        .collect();
    let mut into = lines(into);
    let end = into.iter().position(|line| line == "\n").unwrap();
    into.splice(end..end, signature);
    into.concat().into_bytes()
}

#[test]
fn who_signed_is_named_whatever_the_kind_of_key() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let mut signers = String::from("# who may sign\n");
    let mut commits = Vec::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = signing.ssh_key(kind, kind);
        writeln!(signers, "{kind}@example.org,*@{kind}.example.org {key}").unwrap();
        let commit = repository.commit(With::Ssh(kind));
        commits.push((commit, format!("{kind}@example.org")));
    }
    let (public, fingerprint) = signing.openpgp_key("bo", "never", &[]);
    signers += &public;
    commits.push((repository.commit(With::OpenPgp("bo", &[])), fingerprint));
    let late = signing.ssh_key("late", "ed25519");
    writeln!(signers, "late@example.org namespaces=\"git\" {late}").unwrap();
    commits.push((
        repository.commit(With::Ssh("late")),
        "late@example.org".to_owned(),
    ));
    for (commit, expected) in &commits {
        assert_eq!(repository.signer(&signers, commit).as_ref(), Ok(expected));
    }
}

#[test]
fn a_certificate_counts_where_its_authority_is_named() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let authority = signing.ssh_key("authority", "ed25519");
    let stranger = signing.ssh_key("stranger", "ed25519");
    signing.ssh_key("ann", "ed25519");
    let certify = |validity: &str| {
        let arguments = [
            "-q",
            "-s",
            "authority",
            "-I",
            "ann",
            "-n",
            "ann@example.org",
        ];
        let more = ["-V", validity, "ann.pub"];
        signing.run("ssh-keygen", &[&arguments[..], &more].concat(), b"");
        repository.commit(With::Ssh("ann-cert.pub"))
    };
    let commit = certify("-1h:+1h");
    let signers = |key: &str| format!("*@example.org cert-authority {key}\n");
    assert_eq!(
        repository.signer(&signers(&authority), &commit).as_deref(),
        Ok("ann@example.org")
    );
    let said = repository.refusal(&signers(&stranger), &commit);
    assert!(said.contains("a certificate, which"), "{said}");
    let expired = certify("-2h:-1h");
    let said = repository.refusal(&signers(&authority), &expired);
    assert!(said.contains("a certificate, which"), "{said}");
}

#[test]
fn a_commit_that_nobody_signed_or_a_stranger_is_refused() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let ann = format!("ann@example.org {}\n", signing.ssh_key("ann", "ed25519"));
    let (bo, _) = signing.openpgp_key("bo", "never", &[]);
    let both = format!("{ann}{bo}");
    signing.ssh_key("eve", "ed25519");
    let (_, eve) = signing.openpgp_key("eve", "never", &[]);

    let unsigned = repository.commit(With::Nothing);
    let said = repository.refusal(&both, &unsigned);
    assert_eq!(said, format!("commit {} is not signed", &unsigned.0[..12]));
    let commit = repository.commit(With::Ssh("eve"));
    let said = repository.refusal(&both, &commit);
    assert!(
        said.contains("SHA256:") && said.contains("does not allow"),
        "{said}"
    );
    let commit = repository.commit(With::OpenPgp("eve", &[]));
    let said = repository.refusal(&both, &commit);
    assert!(
        said.contains(&eve) && said.contains("does not allow"),
        "{said}"
    );
    // Signers of one kind alone.
    let said = repository.refusal(&ann, &commit);
    assert!(said.contains("an OpenPGP key"), "{said}");
    let commit = repository.commit(With::Ssh("ann"));
    let said = repository.refusal(&bo, &commit);
    assert!(said.contains("SHA256:"), "{said}");
}

#[test]
fn the_signature_of_another_commit_is_refused() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let ann = format!("ann@example.org {}\n", signing.ssh_key("ann", "ed25519"));
    let (bo, _) = signing.openpgp_key("bo", "never", &[]);
    let signers = format!("{ann}{bo}");
    for with in [With::Ssh("ann"), With::OpenPgp("bo", &[])] {
        let (_, good) = repository.commit(with);
        let (id, other) = repository.commit(With::Nothing);
        let forged = (id.clone(), transplant(&good, &other));
        let said = repository.refusal(&signers, &forged);
        assert!(said.contains("made for other content"), "{said}");
        // One byte of the message, of the tree, of the signature.
        let text = String::from_utf8(good).unwrap();
        for changed in [
            text.replace("change", "chance"),
            text.replacen("tree ", "tree 0", 1),
            text.replace("author Ann", "author Eve"),
        ] {
            assert_ne!(changed, text);
            let said = repository.refusal(&signers, &(id.clone(), changed.into_bytes()));
            assert!(said.contains("made for other content"), "{said}");
        }
    }
}

#[test]
fn a_signature_that_was_not_made_for_git_is_refused() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let key = signing.ssh_key("ann", "ed25519");
    let (id, object) = repository.commit(With::Nothing);
    let sign = |namespace: &str| {
        let arguments = ["-q", "-Y", "sign", "-n", namespace, "-f", "ann"];
        let armoured = signing.run("ssh-keygen", &arguments, &object);
        let armoured = String::from_utf8(armoured).unwrap();
        let header = armoured.trim_end().replace('\n', "\n ");
        let text = String::from_utf8(object.clone()).unwrap();
        let signed = text.replacen("\n\n", &format!("\ngpgsig {header}\n\n"), 1);
        (id.clone(), signed.into_bytes())
    };
    let signers = format!("ann@example.org {key}\n");
    assert!(repository.signer(&signers, &sign("git")).is_ok());
    let said = repository.refusal(&signers, &sign("file"));
    assert!(said.contains("made for `file` and not for git"), "{said}");
    let signers = format!("\nann@example.org namespaces=\"file,email\" {key}\n");
    let said = repository.refusal(&signers, &sign("git"));
    assert!(said.contains("line 2: key is not permitted"), "{said}");
}

#[test]
fn keys_that_do_not_count_now_are_refused() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let key = signing.ssh_key("ann", "ed25519");
    let commit = repository.commit(With::Ssh("ann"));
    for (option, expected) in [
        ("valid-before=\"20200101\"", "line 1: key has expired"),
        ("valid-after=\"20900101\"", "line 1: key is not yet valid"),
    ] {
        let said = repository.refusal(&format!("ann@example.org {option} {key}\n"), &commit);
        assert!(said.contains(expected), "{said}");
    }
    let signers = format!("ann@example.org valid-before=\"20900101Z\" {key}\n");
    assert!(repository.signer(&signers, &commit).is_ok());

    let then = ["--faked-system-time", "20200101T120000"];
    let (expired, _) = signing.openpgp_key("old", "1d", &then);
    let commit = repository.commit(With::OpenPgp("old", &then));
    let said = repository.refusal(&expired, &commit);
    assert!(said.contains("a key that has expired"), "{said}");

    let (short, _) = signing.openpgp_key("short", "never", &then);
    let options = [&then[..], &["--default-sig-expire", "1"]].concat();
    let commit = repository.commit(With::OpenPgp("short", &options));
    let said = repository.refusal(&short, &commit);
    assert!(said.contains("that has expired"), "{said}");

    let (public, _) = signing.openpgp_key("weak", "never", &[]);
    let commit = repository.commit(With::OpenPgp("weak", &["--digest-algo", "SHA1"]));
    let said = repository.refusal(&public, &commit);
    assert!(said.contains("too weak"), "{said}");

    let (public, fingerprint) = signing.openpgp_key("gone", "never", &[]);
    let commit = repository.commit(With::OpenPgp("gone", &[]));
    assert_eq!(repository.signer(&public, &commit), Ok(fingerprint.clone()));
    let file = signing.path(&format!("openpgp-revocs.d/{fingerprint}.rev"));
    let revocation = std::fs::read_to_string(file)
        .unwrap()
        .replace(":---", "---");
    signing.gpg(&["--import"], revocation.as_bytes());
    let said = repository.refusal(&signing.openpgp_public("gone"), &commit);
    assert!(said.contains("a key that was revoked"), "{said}");
}

#[test]
fn a_file_of_signers_that_is_wrong_is_named_with_its_line() {
    let repository = Repository::new();
    let commit = repository.commit(With::Nothing);
    let error = |verifier: &Verifier| verifier.signer("s", &commit.0, &commit.1).unwrap_err();
    let found = error(&repository.verifier("\nssh-ed25519 AAAA\n"));
    assert!(found.path.ends_with("/signers:2"), "{found}");
    let found = error(&Verifier::new(repository.signing.path("none")));
    assert!(found.message.contains("cannot be read"), "{found}");
    let found = error(&repository.verifier(&"# long\n".repeat(200_000)));
    assert!(found.message.contains("larger"), "{found}");
}

/// A clock that stands still until it is moved.
struct Still(Mutex<Instant>);

impl Clock for Still {
    fn instant(&self) -> Instant {
        *self.0.lock().unwrap()
    }
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

/// Makes every program fail as if it were not there.
fn without_programs(verifier: &mut Verifier) {
    verifier.programs = Programs {
        ssh_keygen: "no-such-ssh-keygen".into(),
        gpgv: "no-such-gpgv".into(),
    };
}

#[test]
fn a_verdict_is_remembered_for_one_commit_and_one_content_of_the_file() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let ann = format!("ann@example.org {}\n", signing.ssh_key("ann", "ed25519"));
    signing.ssh_key("eve", "ed25519");
    let good = repository.commit(With::Ssh("ann"));
    let bad = repository.commit(With::Ssh("eve"));
    let clock = Arc::new(Still(Mutex::new(clock::system().instant())));
    let mut verifier = repository.verifier(&ann);
    verifier.clock = Arc::<Still>::clone(&clock);
    let signer = |verifier: &Verifier, commit: &(String, Vec<u8>)| {
        verifier
            .signer("s", &commit.0, &commit.1)
            .map_err(|error| error.message)
    };
    assert!(signer(&verifier, &good).is_ok());
    let refusal = signer(&verifier, &bad).unwrap_err();
    without_programs(&mut verifier);
    assert_eq!(signer(&verifier, &good).as_deref(), Ok("ann@example.org"));
    assert_eq!(signer(&verifier, &bad), Err(refusal));

    // A refusal is looked at again after a while, and so is everything when the file changes.
    *clock.0.lock().unwrap() += REFUSED_FOR;
    assert!(signer(&verifier, &good).is_ok());
    let said = signer(&verifier, &bad).unwrap_err();
    assert!(said.contains("no program no-such-ssh-keygen"), "{said}");
    signing.write("signers", format!("{ann}# later\n"));
    let said = signer(&verifier, &good).unwrap_err();
    assert!(said.contains("no program"), "{said}");
    // What the machine cannot do is no verdict.
    verifier.programs.ssh_keygen = "ssh-keygen".into();
    assert!(signer(&verifier, &good).is_ok());
    assert!(verifier.verdicts.lock().unwrap().len() <= MAX_VERDICTS);
}

#[test]
fn nothing_stays_behind_and_nothing_of_the_environment_gets_in() {
    let repository = Repository::new();
    let signing = &repository.signing;
    let ann = format!("ann@example.org {}\n", signing.ssh_key("ann", "ed25519"));
    let commit = repository.commit(With::Ssh("ann"));
    let script = signing.write(
        "spy",
        format!(
            "#!/bin/sh\n(pwd; ls -l; env) > {}\nexec ssh-keygen \"$@\"\n",
            signing.path("seen").display()
        ),
    );
    std::fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
    let mut verifier = repository.verifier(&ann);
    verifier.programs.ssh_keygen = script;
    assert!(verifier.signer("s", &commit.0, &commit.1).is_ok());
    let seen = std::fs::read_to_string(signing.path("seen")).unwrap();
    let folder = PathBuf::from(seen.lines().next().unwrap());
    assert!(seen.contains(PAYLOAD) && !folder.exists(), "{seen}");
    assert!(
        seen.contains(&format!("HOME={}", folder.display())),
        "{seen}"
    );
    assert!(!seen.contains("CARGO"), "{seen}");
}
