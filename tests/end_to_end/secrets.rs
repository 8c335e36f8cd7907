//! Do secrets reach their service, does a rotated one take effect, and does nobody else ever see them?

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::postgresql::{DATABASE, PostgresqlServer};
use crate::support::sample::{self, READER};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const NOTE: &str = "/api/v2/db/_table/note/1";

/// A server whose role `gateway` has a password and may read one record.
fn server(password: &str) -> PostgresqlServer {
    let server = PostgresqlServer::start();
    server.sql(&format!(
        "CREATE ROLE gateway LOGIN PASSWORD '{password}';
         CREATE TABLE note (id integer PRIMARY KEY, text text NOT NULL);
         INSERT INTO note VALUES (1, 'read');
         GRANT SELECT ON note TO gateway;"
    ));
    server
}

/// From now on only this password is good, and no connection with another one lives on.
fn rotate(server: &PostgresqlServer, password: &str) {
    server.sql(&format!(
        "ALTER ROLE gateway PASSWORD '{password}';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway';"
    ));
}

fn service(name: &str, server: &PostgresqlServer, password: &str) -> String {
    format!(
        "[service.{name}]\ntype = \"pgsql\"\n\n[service.{name}.config]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{DATABASE}\"\nusername = \"gateway\"\npassword = {password}\nconnect_timeout_seconds = 2\n",
        server.port()
    )
}

fn tree(server: &PostgresqlServer, password: &str) -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", server, password));
    directory.write("people.toml", sample::people());
    directory
}

/// Writes a file beside its place and moves it there.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

fn reads_the_note(gateway: &TestGateway) {
    let answer = gateway.client_with(READER).get(NOTE);
    answer.expect_ok();
    assert_eq!(answer.json()["text"], "read");
}

/// Nothing that the gateway says has one of these words in it.
fn hides(gateway: &TestGateway, words: &[&str]) {
    let metrics = gateway.operations("/metrics").text();
    let document = gateway.client_with(READER).get("/api/v2/api_docs");
    for said in [
        gateway.log(),
        gateway.status().to_string(),
        metrics,
        document.text(),
    ] {
        for word in words {
            assert!(!said.contains(word), "{word} is in\n{said}");
        }
    }
}

fn claim_outage(gateway: &TestGateway) {
    for text in ["backend", "connection"] {
        gateway.claim(text);
    }
}

fn is_degraded(gateway: &TestGateway, expected: bool) {
    eventually(&format!("degraded: {expected}"), 30, || {
        (gateway.status()["degraded"] == expected).then_some(())
    });
}

/// The problems of the last attempt, in one text.
fn refusal(gateway: &TestGateway) -> String {
    gateway.wait_for_refusal()["problems"].to_string()
}

/// The command with what it reads on standard input.
fn tidegate(arguments: &[&str], input: &str) -> Output {
    run(Command::new(binary()).args(arguments), input)
}

fn run(command: &mut Command, input: &str) -> Output {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `tests/run --install-only` installs what is missing")
        });
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A new identity in `folder`: the file and its public key.
fn keygen(folder: &Path, name: &str) -> (PathBuf, String) {
    let path = folder.join(name);
    let output = tidegate(
        &["secret", "keygen", "--output", path.to_str().unwrap()],
        "",
    );
    (path, printed(&output).trim().to_owned())
}

fn encrypt(recipient: &str, secret: &str) -> String {
    let output = tidegate(&["secret", "encrypt", "--recipient", recipient], secret);
    printed(&output).trim().to_owned()
}

#[test]
fn a_rotated_password_file_takes_effect_without_a_restart() {
    let server = server("first-hunter");
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("password");
    replace(&file, "first-hunter\n");
    let directory = tree(&server, &format!("{{ file = \"{}\" }}", file.display()));
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("TIDEGATE_POLL_SECONDS", "1")
        .start();
    claim_outage(&gateway);
    reads_the_note(&gateway);

    rotate(&server, "second-hunter");
    let client = gateway.client_with(READER);
    eventually("the old password is worth nothing", 30, || {
        (client.get(NOTE).status == 503).then_some(())
    });
    assert_eq!(gateway.generation(), 1);
    replace(&file, "second-hunter\n");
    gateway.wait_for_generation_after(1);
    reads_the_note(&gateway);
    hides(&gateway, &["first-hunter", "second-hunter"]);
    gateway.stop();
}

#[test]
fn a_rotated_credential_takes_effect_on_a_hangup() {
    let server = server("first-hunter");
    let credentials = tempfile::tempdir().unwrap();
    let file = credentials.path().join("db");
    replace(&file, "first-hunter");
    let directory = tree(&server, "{ credential = \"db\" }");
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("TIDEGATE_POLL_SECONDS", "3600")
        .environment(
            "CREDENTIALS_DIRECTORY",
            credentials.path().to_str().unwrap(),
        )
        .start();
    claim_outage(&gateway);
    reads_the_note(&gateway);
    rotate(&server, "second-hunter");
    replace(&file, "second-hunter");
    gateway.signal("HUP");
    gateway.wait_for_generation_after(1);
    reads_the_note(&gateway);
    hides(&gateway, &["first-hunter", "second-hunter"]);
    gateway.stop();
}

#[test]
fn a_secret_that_cannot_be_read_any_more_keeps_the_revision() {
    let server = server("first-hunter");
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("password");
    replace(&file, "first-hunter");
    let directory = tree(&server, &format!("{{ file = \"{}\" }}", file.display()));
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("TIDEGATE_POLL_SECONDS", "1")
        .start();
    gateway.claim("the tree is refused");
    reads_the_note(&gateway);

    std::fs::remove_file(&file).unwrap();
    is_degraded(&gateway, true);
    let said = refusal(&gateway);
    assert!(
        said.contains("`password` has no value") && said.contains("does not exist"),
        "{said}"
    );
    assert!(said.contains("db.toml"), "{said}");
    reads_the_note(&gateway);

    // The same value as before: nothing has to be served anew.
    replace(&file, "first-hunter");
    is_degraded(&gateway, false);
    assert_eq!(gateway.generation(), 1);

    // A secret that is not there yet refuses a new tree, and admits it as soon as it is there.
    let late = secrets.path().join("late");
    let reference = format!("{{ file = \"{}\" }}", late.display());
    directory.write("late.toml", service("late", &server, &reference));
    is_degraded(&gateway, true);
    assert!(refusal(&gateway).contains("late.toml"));
    replace(&late, "first-hunter");
    gateway.wait_for_generation_after(1);
    is_degraded(&gateway, false);
    let answer = gateway
        .client_with(READER)
        .get("/api/v2/late/_table/note/1");
    answer.expect_ok();
    hides(&gateway, &["first-hunter"]);
    gateway.stop();
}

#[test]
fn an_encrypted_password_in_the_tree_opens_a_database() {
    let server = server("first-hunter");
    let host = tempfile::tempdir().unwrap();
    let (identity, recipient) = keygen(host.path(), "identity");
    let value = encrypt(&recipient, "first-hunter\n");
    let directory = tree(&server, &value);
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("TIDEGATE_AGE_IDENTITY", identity.to_str().unwrap())
        .start();
    claim_outage(&gateway);
    reads_the_note(&gateway);

    // A rotation is a commit.
    rotate(&server, "second-hunter");
    let rotated = encrypt(&recipient, "second-hunter");
    directory.write("db.toml", service("db", &server, &rotated));
    gateway.wait_for_generation_after(1);
    reads_the_note(&gateway);
    let ciphertext = &rotated[rotated.len() - 60..rotated.len() - 20];
    hides(&gateway, &["first-hunter", "second-hunter", ciphertext]);
    gateway.stop();
}

#[test]
fn a_value_for_another_host_is_refused_until_its_identity_is_there() {
    let server = server("first-hunter");
    let host = tempfile::tempdir().unwrap();
    let (own, recipient) = keygen(host.path(), "own");
    let (other, stranger) = keygen(host.path(), "other");
    let credentials = host.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let identity = credentials.join("age-identity");
    std::fs::copy(&own, &identity).unwrap();
    let start = |directory: &WatchedDirectory| {
        Start::new(&directory.tree(), &directory.data())
            .environment("TIDEGATE_POLL_SECONDS", "1")
            .environment("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())
    };

    let foreign = encrypt(&stranger, "first-hunter");
    let (status, said) = start(&tree(&server, &foreign)).expect_refusal();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("other recipients"), "{said}");
    assert!(said.contains(&recipient), "no mend in\n{said}");

    let directory = tree(&server, &encrypt(&recipient, "first-hunter"));
    let gateway = start(&directory).start();
    gateway.claim("the tree is refused");
    reads_the_note(&gateway);
    directory.write("more.toml", service("more", &server, &foreign));
    is_degraded(&gateway, true);
    assert!(refusal(&gateway).contains("other recipients"));
    reads_the_note(&gateway);

    // The identity is read anew with the secrets.
    let both = std::fs::read_to_string(&own).unwrap() + &std::fs::read_to_string(&other).unwrap();
    replace(&identity, &both);
    gateway.wait_for_generation_after(1);
    is_degraded(&gateway, false);
    let client = gateway.client_with(READER);
    client.get("/api/v2/more/_table/note/1").expect_ok();

    // An identity that opens nothing any more takes nothing away from what is served.
    replace(&identity, "# gone\n");
    is_degraded(&gateway, true);
    let said = refusal(&gateway);
    assert!(said.contains("has no key in it"), "{said}");
    reads_the_note(&gateway);
    hides(&gateway, &["first-hunter", "AGE-SECRET-KEY"]);
    gateway.stop();
}

/// The tool itself, from the package `age`.
#[test]
fn the_tool_age_and_tidegate_open_what_the_other_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, recipient) = keygen(folder.path(), "ours");
    let theirs = folder.path().join("theirs");
    printed(&run(Command::new("age-keygen").arg("-o").arg(&theirs), ""));
    let public = printed(&run(Command::new("age-keygen").arg("-y").arg(&theirs), ""));
    let public = public.trim();

    // Both identities open a value of `age` for both of them, however it is written.
    let armoured = printed(&run(
        Command::new("age").args(["-a", "-r", public, "-r", &recipient]),
        "hunter2\n",
    ));
    let directory = sample::shop_with(&format!(
        "[service.db]\ntype = \"pgsql\"\n[service.db.config]\nhost = \"db\"\ndatabase = \"d\"\nusername = \"u\"\npassword = {{ age = \"\"\"\n{armoured}\"\"\" }}\n"
    ));
    let tree = directory.tree();
    let check = |identity: &Path| {
        let identity = identity.to_str().unwrap();
        tidegate(
            &[
                "check",
                "--secrets",
                "--age-identity",
                identity,
                tree.to_str().unwrap(),
            ],
            "",
        )
    };
    printed(&check(&theirs));
    printed(&check(&ours));

    // And `age` opens ours.
    let value = encrypt(public, "hunter2\n");
    let base64 = value
        .trim_start_matches("{ age = \"")
        .trim_end_matches("\" }");
    let file = folder.path().join("value.age");
    let armour = format!(
        "-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n",
        base64
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    );
    std::fs::write(&file, armour).unwrap();
    let opened = run(
        Command::new("age")
            .arg("-d")
            .arg("-i")
            .arg(&theirs)
            .arg(&file),
        "",
    );
    assert_eq!(printed(&opened), "hunter2");
}

#[test]
fn check_needs_no_identity_but_good_age_data() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = keygen(folder.path(), "identity");
    let service = |value: &str| {
        format!(
            "[service.db]\ntype = \"pgsql\"\n[service.db.config]\nhost = \"db\"\ndatabase = \"d\"\nusername = \"u\"\npassword = {value}\n"
        )
    };
    let directory = sample::shop_with(&service(&encrypt(&recipient, "hunter2")));
    let tree = directory.tree();
    let check = |more: &[&str]| {
        let mut arguments = vec!["check", tree.to_str().unwrap()];
        arguments.extend(more);
        let output = tidegate(&arguments, "");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let identity = identity.to_str().unwrap();
    assert_eq!(check(&[]).0, Some(0));
    assert_eq!(check(&["--secrets", "--age-identity", identity]).0, Some(0));
    let (code, said) = check(&["--secrets"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("this host has no age identity"), "{said}");
    assert!(said.contains("--age-identity"), "{said}");

    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(identity, mode).unwrap();
    let (code, said) = check(&["--secrets", "--age-identity", identity]);
    assert_eq!(code, Some(0), "a warning is no error");
    assert!(
        said.contains("warning: the age identity") && said.contains("chmod 0600"),
        "{said}"
    );

    directory.write("more.toml", service("{ age = \"hunter2\" }"));
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("`password` is no age data"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn the_secret_commands_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = keygen(folder.path(), "identity");
    let before = std::fs::read(&identity).unwrap();
    let again = tidegate(
        &["secret", "keygen", "--output", identity.to_str().unwrap()],
        "",
    );
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(std::fs::read(&identity).unwrap(), before);

    let private = std::fs::read_to_string(&identity).unwrap();
    let private = private.lines().last().unwrap();
    let list = folder.path().join("recipients");
    std::fs::write(&list, format!("# hosts\n{recipient}\nage1nobody\n")).unwrap();
    for (arguments, expected) in [
        (&[][..], "nobody could open"),
        (&["--recipient", "age1nobody"], "no recipient"),
        (&["--recipient", private], "private key"),
        (&["--recipients-file", list.to_str().unwrap()], "line 3"),
        (&["--recipients-file", "no/such/file"], "no/such/file"),
    ] {
        let mut all = vec!["secret", "encrypt"];
        all.extend(arguments);
        let output = tidegate(&all, "hunter2");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{said}");
    }
    let empty = tidegate(&["secret", "encrypt", "--recipient", &recipient], "\n");
    assert_eq!(empty.status.code(), Some(2));

    std::fs::write(&list, format!("# hosts\n{recipient}\n")).unwrap();
    let json = tidegate(
        &[
            "secret",
            "encrypt",
            "--format",
            "json",
            "--recipients-file",
            list.to_str().unwrap(),
        ],
        "hunter2",
    );
    let json: Value = serde_json::from_str(&printed(&json)).unwrap();
    assert_eq!(json["recipients"][0], recipient.as_str());
    assert!(json["age"].as_str().unwrap().starts_with("YWdl"));
    let json = tidegate(&["secret", "keygen", "--format", "json"], "");
    let json: Value = serde_json::from_str(&printed(&json)).unwrap();
    assert!(json["recipient"].as_str().unwrap().starts_with("age1"));
}

/// `script` gives the command a terminal; what it prints is all that the terminal showed.
#[test]
fn a_terminal_does_not_show_the_secret_that_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, recipient) = keygen(folder.path(), "identity");
    let command = format!(
        "{} secret encrypt --recipient {recipient}",
        binary().display()
    );
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    let mut output = child.stdout.take().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Typed once it is asked for.
    while !String::from_utf8_lossy(&shown).contains("Enter: ") {
        let mut bytes = [0; 256];
        let count = std::io::Read::read(&mut output, &mut bytes).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&bytes[..count]);
    }
    input.write_all(b"hunter2\n").unwrap();
    std::io::Read::read_to_end(&mut output, &mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("which is not shown"), "{shown}");
    assert!(shown.contains("{ age = \"YWdl"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
