//! Is a commit served as it was pushed, whatever happens to its repository and to the remote of that?

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::eventually;
use crate::support::gateway::{Start, TestGateway, binary};
use crate::support::git::{Behaviour, FileServer, Repository, SecureShell, Workshop};
use crate::support::sample::{self, READER, sqlite_service};

/// Longer than any test: only what is watched is noticed.
const NEVER: &str = "86400";

/// A workshop with a shop in its data folder, and a work tree that serves it from `gateway.d`.
fn shop() -> (Workshop, Repository) {
    let workshop = Workshop::new();
    sample::create_shop(&workshop.data().join("shop.db"));
    let work = workshop.work("work");
    work.write("gateway.d/people.toml", sample::people());
    work.write("gateway.d/shop.toml", sqlite_service("shop", "shop.db"));
    (workshop, work)
}

/// The same, pushed to a bare repository.
fn pushed() -> (Workshop, Repository, Repository) {
    let (workshop, work) = shop();
    let bare = workshop.bare("bare.git");
    work.push(&bare);
    (workshop, work, bare)
}

fn start(workshop: &Workshop, repository: &Repository, rest: &str) -> TestGateway {
    begin(workshop, repository, rest)
        .environment("TIDEGATE_POLL_SECONDS", NEVER)
        .start()
}

fn begin(workshop: &Workshop, repository: &Repository, rest: &str) -> Start {
    Start::new(&repository.source(rest), &workshop.data())
        .environment("GIT_CONFIG_NOSYSTEM", "1")
        .environment("GIT_CONFIG_GLOBAL", "/dev/null")
}

/// One that fetches every second.
fn fetching(workshop: &Workshop, repository: &Repository, rest: &str) -> Start {
    begin(workshop, repository, rest).environment("TIDEGATE_GIT_FETCH", "1s")
}

fn is_served(gateway: &TestGateway, service: &str) -> bool {
    let path = format!("/api/v2/{service}/_table/customer");
    gateway.client_with(READER).get(&path).status == 200
}

fn wait_for(gateway: &TestGateway, service: &str) {
    eventually(&format!("the service {service}"), 30, || {
        is_served(gateway, service).then_some(())
    });
}

fn wait_for_commit(gateway: &TestGateway, commit: &str) -> Value {
    eventually(&format!("the commit {commit}"), 30, || {
        Some(gateway.status()).filter(|status| status["commit"] == commit)
    })
}

/// How the last fetch ended, once it ended that way.
fn wait_for_fetch(gateway: &TestGateway, outcome: &str) -> Value {
    eventually(&format!("a fetch that {outcome}"), 30, || {
        Some(gateway.status()["fetch"].take()).filter(|fetch| fetch["outcome"] == outcome)
    })
}

fn tidegate(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(arguments)
        .env_remove("TIDEGATE_CONFIG")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap();
    (code, String::from_utf8(text).unwrap())
}

#[test]
fn what_is_committed_is_served_and_what_is_only_written_is_not() {
    let (workshop, work) = shop();
    let first = work.commit();
    let gateway = start(&workshop, &work, "main:gateway.d");
    let answer = gateway
        .client_with(READER)
        .get("/api/v2/shop/_table/customer");
    let revision = format!("g1-{}", &first[..12]);
    assert_eq!(
        answer.header("x-tidegate-revision"),
        Some(revision.as_str())
    );
    let status = gateway.status();
    assert_eq!(status["commit"], first.as_str());
    assert_eq!(status["dirty"], false);
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    gateway.signal("HUP");
    work.git(&["add", "-A"]);
    gateway.signal("HUP");
    // A branch of another name moves, and nothing happens either.
    work.git(&["stash", "-q"]);
    work.git(&["branch", "side"]);
    work.git(&["stash", "pop", "-q"]);
    assert_eq!(gateway.generation(), 1);
    assert!(!is_served(&gateway, "second"));
    let second = work.commit();
    wait_for(&gateway, "second");
    let status = wait_for_commit(&gateway, &second);
    assert_eq!(status["generation"], 2, "{status}");
    gateway.stop();
}

#[test]
fn a_push_to_a_bare_repository_is_a_deployment_and_a_push_by_force_undoes_it() {
    let (workshop, work, bare) = pushed();
    let first = work.git(&["rev-parse", "HEAD"]);
    let gateway = start(&workshop, &bare, "main:gateway.d");
    assert_eq!(gateway.status()["commit"], first.as_str());
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    let second = work.push(&bare);
    wait_for(&gateway, "second");
    assert_eq!(gateway.status()["commit"], second.as_str());
    let push = format!("{first}:refs/heads/main");
    work.git(&["push", "-q", "--force", &bare.url(), &push]);
    let status = wait_for_commit(&gateway, &first);
    assert!(!is_served(&gateway, "second"));
    assert_eq!(status["generation"], 3);
    gateway.stop();
}

#[test]
fn the_same_files_in_a_new_commit_are_a_new_revision_that_keeps_everything() {
    let (workshop, work, bare) = pushed();
    let gateway = start(&workshop, &bare, "main:gateway.d");
    let digest = gateway.status()["digest"].clone();
    work.write("README.md", "beside the manifests");
    let commit = work.push(&bare);
    let status = wait_for_commit(&gateway, &commit);
    assert_eq!(status["digest"], digest);
    assert_eq!(status["revision"], format!("g2-{}", &commit[..12]));
    let log = gateway.log();
    assert!(log.contains("\"kept\":1"), "{log}");
    assert!(!log.contains("\"opened\":2"), "{log}");
    gateway.stop();
}

#[test]
fn a_broken_commit_is_refused_with_its_place_and_the_next_one_mends_it() {
    let (workshop, work, bare) = pushed();
    let first = work.git(&["rev-parse", "HEAD"]);
    let gateway = start(&workshop, &bare, "main:gateway.d");
    gateway.claim("refused");
    work.write(
        "gateway.d/broken.toml",
        "[service.broken]\ntype = \"sqlite\"\nlable = \"x\"\n",
    );
    work.push(&bare);
    let attempt = gateway.wait_for_refusal();
    let file = format!("git:{}#main:gateway.d/broken.toml", bare.path().display());
    let problems = attempt["problems"].as_array().unwrap();
    let is_there = problems
        .iter()
        .any(|problem| problem["file"] == file && problem["line"] == 3);
    assert!(is_there, "{attempt}");
    assert!(gateway.log().contains(&format!("{file}:3:1")));
    let status = gateway.status();
    assert_eq!(status["commit"], first.as_str());
    assert_eq!(status["degraded"], true);
    assert!(is_served(&gateway, "shop"));
    std::fs::remove_file(work.path().join("gateway.d/broken.toml")).unwrap();
    let mended = work.push(&bare);
    let status = wait_for_commit(&gateway, &mended);
    assert_eq!(status["degraded"], false);
    gateway.stop();
}

#[test]
fn a_branch_that_is_deleted_takes_nothing_with_it() {
    let (workshop, work, bare) = pushed();
    let gateway = start(&workshop, &bare, "main:gateway.d");
    gateway.claim("refused");
    bare.git(&["update-ref", "refs/heads/other", "main"]);
    bare.git(&["update-ref", "-d", "refs/heads/main"]);
    let attempt = gateway.wait_for_refusal();
    let problem = attempt["problems"][0]["message"].as_str().unwrap();
    assert!(
        problem.ends_with("there is no branch, tag or commit `main`"),
        "{problem}"
    );
    assert!(is_served(&gateway, "shop"));
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&bare);
    wait_for(&gateway, "second");
    assert_eq!(gateway.status()["degraded"], false);
    gateway.stop();
}

#[test]
fn a_repository_that_is_moved_away_and_made_anew_is_still_watched() {
    let (workshop, work, bare) = pushed();
    let gateway = start(&workshop, &bare, "main:gateway.d");
    gateway.claim("refused");
    let aside = workshop.at("aside.git");
    std::fs::rename(bare.path(), &aside).unwrap();
    let attempt = gateway.wait_for_refusal();
    assert!(
        attempt.to_string().contains("no such repository"),
        "{attempt}"
    );
    assert!(is_served(&gateway, "shop"));
    std::fs::rename(&aside, bare.path()).unwrap();
    eventually("the end of the degradation", 30, || {
        (gateway.status()["degraded"] == false).then_some(())
    });
    std::fs::rename(bare.path(), &aside).unwrap();
    gateway.wait_for_refusal();
    let bare = workshop.bare("bare.git");
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&bare);
    wait_for(&gateway, "second");
    gateway.stop();
}

#[test]
fn packed_references_and_objects_are_the_same_ones() {
    let (workshop, work, bare) = pushed();
    let gateway = start(&workshop, &bare, "main:gateway.d");
    for round in 0..3 {
        bare.git(&["pack-refs", "--all", "--prune"]);
        bare.git(&["gc", "-q", "--prune=now"]);
        assert!(!bare.path().join("refs/heads/main").exists());
        work.write(
            "gateway.d/more.toml",
            sqlite_service(&format!("more{round}"), "shop.db"),
        );
        work.push(&bare);
        wait_for(&gateway, &format!("more{round}"));
    }
    // A move that never is a loose reference: only the packed ones change.
    let file = bare.path().join("packed-refs");
    work.write("gateway.d/more.toml", sqlite_service("last", "shop.db"));
    let before = work.git(&["rev-parse", "HEAD"]);
    let last = work.commit();
    work.git(&["push", "-q", &bare.url(), "HEAD:refs/heads/other"]);
    bare.git(&["pack-refs", "--all", "--prune"]);
    let packed = std::fs::read_to_string(&file).unwrap();
    let packed = packed.replace(
        &format!("{before} refs/heads/main"),
        &format!("{last} refs/heads/main"),
    );
    std::fs::write(bare.path().join("packed-refs.new"), packed).unwrap();
    std::fs::rename(bare.path().join("packed-refs.new"), &file).unwrap();
    wait_for(&gateway, "last");
    gateway.stop();
}

#[test]
fn tags_full_names_and_commits_are_served_and_a_tag_that_is_moved_is_followed() {
    let (workshop, work) = shop();
    let first = work.commit();
    work.git(&["tag", "-m", "a release", "v1"]);
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.commit();
    let pinned = start(&workshop, &work, &format!("{first}:gateway.d"));
    let tagged = start(&workshop, &work, "v1:gateway.d");
    let full = start(&workshop, &work, "refs/heads/main:gateway.d");
    assert!(!is_served(&pinned, "second") && !is_served(&tagged, "second"));
    assert!(is_served(&full, "second"));
    work.git(&["tag", "-f", "-m", "the release, again", "v1"]);
    wait_for(&tagged, "second");
    pinned.signal("HUP");
    assert!(!is_served(&pinned, "second"));
    for gateway in [pinned, tagged, full] {
        gateway.stop();
    }
}

#[test]
fn a_shallow_clone_is_served() {
    let (workshop, work, bare) = pushed();
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&bare);
    let shallow = workshop.clone_of(&bare.url(), "shallow", &["--depth", "1"]);
    let gateway = start(&workshop, &shallow, "origin/main:gateway.d");
    assert!(is_served(&gateway, "second"));
    work.write("gateway.d/third.toml", sqlite_service("third", "shop.db"));
    work.push(&bare);
    shallow.git(&["fetch", "-q", "--depth", "1"]);
    wait_for(&gateway, "third");
    gateway.stop();
}

#[test]
fn fifty_quick_pushes_end_with_the_last_one_and_none_is_served_half() {
    const PUSHES: usize = 50;
    let (workshop, work, bare) = pushed();
    let gateway = start(&workshop, &bare, "main:gateway.d");
    let stop = Arc::new(AtomicBool::new(false));
    let caller = {
        let (client, stop) = (gateway.client_with(READER), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut seen = 0;
            while !stop.load(Ordering::SeqCst) {
                let answer = client.get("/api/v2");
                answer.expect_ok();
                let document = answer.json();
                let services = document["services"].as_array().unwrap();
                let labels: Vec<&Value> = services
                    .iter()
                    .filter(|service| service["name"] == "one" || service["name"] == "two")
                    .map(|service| &service["label"])
                    .collect();
                assert!(
                    labels.is_empty() || labels.len() == 2 && labels[0] == labels[1],
                    "half a commit: {services:?}"
                );
                seen += labels.len();
            }
            seen
        })
    };
    let mut last = String::new();
    for number in 0..PUSHES {
        for name in ["one", "two"] {
            let service = sqlite_service(name, "shop.db");
            let label = format!("label = \"{number}\"");
            let text = service.replace(&format!("label = \"{name}\""), &label);
            work.write(&format!("gateway.d/{name}.toml"), text);
        }
        last = work.push(&bare);
    }
    wait_for_commit(&gateway, &last);
    stop.store(true, Ordering::SeqCst);
    assert!(caller.join().expect("no half commit") > 0, "nothing seen");
    gateway.stop();
}

#[test]
fn a_folder_is_dirty_until_its_changes_are_committed() {
    let (workshop, work) = shop();
    let first = work.commit();
    let gateway = Start::new(&work.path().join("gateway.d"), &workshop.data())
        .environment("TIDEGATE_POLL_SECONDS", "1")
        .start();
    let status = gateway.status();
    assert_eq!(status["dirty"], false);
    assert_eq!(status["revision"], format!("g1-{}", &first[..12]));
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    wait_for(&gateway, "second");
    let status = gateway.status();
    assert_eq!(status["dirty"], true);
    let digest = status["digest"].as_str().unwrap();
    assert!(
        status["revision"]
            .as_str()
            .unwrap()
            .ends_with(&digest[..12])
    );
    // The files stay as they are, and so does what runs; only its name is another one.
    let second = work.commit();
    let status = wait_for_commit(&gateway, &second);
    assert_eq!(status["dirty"], false, "{status}");
    assert_eq!(status["digest"], digest);
    std::fs::remove_file(work.path().join("gateway.d/second.toml")).unwrap();
    eventually("the dirty mark of a deleted file", 30, || {
        let status = gateway.status();
        (status["dirty"] == true && status["commit"] == second.as_str()).then_some(())
    });
    gateway.stop();
}

#[test]
fn check_reads_commits_and_explains_what_is_wrong_with_their_names() {
    let (_workshop, work) = shop();
    work.commit();
    let source = |rest: &str| work.source(rest).display().to_string();
    let (code, text) = tidegate(&["check", &source("main:gateway.d")]);
    assert_eq!((code, text.as_str()), (0, "no problems in 2 files\n"));
    work.write("gateway.d/bad.toml", "[rol.x]\n");
    work.commit();
    let (code, text) = tidegate(&["check", &source("main")]);
    let place = format!("{}:gateway.d/bad.toml:1:2", source("main"));
    assert!(code == 1 && text.contains(&place), "{text}");
    assert_eq!(tidegate(&["check", &source("main~1:gateway.d")]).0, 0);
    for (source, code, words) in [
        (source("mian:gateway.d"), 1, "did you mean `main`?"),
        (source("main:gatewayd"), 1, "did you mean `gateway.d`?"),
        (source("main:gateway.d/shop.toml"), 1, "this is a file"),
        (
            work.path().join("gateway.d").display().to_string(),
            1,
            "bad.toml",
        ),
        (
            format!("git:{}/gateway.d#main", work.path().display()),
            1,
            "not a git repository",
        ),
        (format!("git:{}", work.path().display()), 2, "#main"),
        (
            "git:/no/such/place#main".to_owned(),
            1,
            "no such repository",
        ),
    ] {
        let (found, text) = tidegate(&["check", &source]);
        assert_eq!(found, code, "{source}: {text}");
        assert!(text.contains(words), "{source}: {text}");
    }
}

#[test]
fn what_a_commit_cannot_say_has_to_be_said() {
    let (workshop, work) = shop();
    work.commit();
    let source = work.source("main:gateway.d").display().to_string();
    let (code, text) = tidegate(&["serve", "--config", &source]);
    assert!(code == 2 && text.contains("--data-dir"), "{text}");
    let data = workshop.data().display().to_string();
    let folder = work.path().join("gateway.d").display().to_string();
    let id = work.git(&["rev-parse", "HEAD"]);
    let pinned = work.source(&id).display().to_string();
    for config in [&folder, &pinned] {
        let (code, text) = tidegate(&[
            "serve",
            "--config",
            config,
            "--data-dir",
            &data,
            "--git-fetch",
            "30s",
        ]);
        assert!(code == 2 && text.contains("--config git:"), "{text}");
    }
    let (code, text) = tidegate(&["serve", "--git-fetch", "5d"]);
    assert!(code == 2 && text.contains("30s, 5m or 1h"), "{text}");
}

#[test]
fn a_mirror_follows_its_remote() {
    let (workshop, work, upstream) = pushed();
    let mirror = workshop.clone_of(&upstream.url(), "mirror.git", &["--mirror"]);
    // Nothing that the repository brings along is run.
    let hook = mirror.path().join("hooks/reference-transaction");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let ran = workshop.at("hook-ran");
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, executable).unwrap();
    let gateway = fetching(&workshop, &mirror, "main:gateway.d").start();
    let first = work.git(&["rev-parse", "HEAD"]);
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    let second = work.push(&upstream);
    wait_for(&gateway, "second");
    wait_for_commit(&gateway, &second);
    let fetch = wait_for_fetch(&gateway, "fetched");
    assert!(fetch["at"].is_string() && fetch["message"].is_null());
    upstream.git(&["update-ref", "refs/heads/main", &first]);
    wait_for_commit(&gateway, &first);
    assert!(!ran.exists(), "a hook was run");
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains("tidegate_git_fetches_total{outcome=\"failed\"} 0"),
        "{metrics}"
    );
    gateway.stop();
}

#[test]
fn a_clone_follows_its_remote_and_its_own_branches_stay() {
    let (workshop, work, upstream) = pushed();
    let clone = workshop.clone_of(&upstream.url(), "clone", &[]);
    let gateway = fetching(&workshop, &clone, "origin/main:gateway.d").start();
    let first = clone.git(&["rev-parse", "main"]);
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&upstream);
    wait_for(&gateway, "second");
    assert_eq!(clone.git(&["rev-parse", "main"]), first);
    assert_eq!(clone.git(&["status", "--porcelain"]), "");
    gateway.stop();
    // What a fetch cannot move is said, and what is there is served.
    let gateway = fetching(&workshop, &clone, "main:gateway.d").start();
    gateway.claim("nothing can be fetched");
    let fetch = wait_for_fetch(&gateway, "failed");
    assert!(fetch.to_string().contains("origin/main"), "{fetch}");
    assert!(is_served(&gateway, "shop"));
    gateway.stop();
}

#[test]
fn tags_are_fetched_where_a_tag_is_served() {
    let (workshop, work, upstream) = pushed();
    work.git(&["tag", "live"]);
    work.git(&["push", "-q", &upstream.url(), "live"]);
    let bare = workshop.clone_of(&upstream.url(), "clone.git", &["--bare"]);
    let gateway = fetching(&workshop, &bare, "live:gateway.d").start();
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.commit();
    work.git(&["tag", "-f", "live"]);
    work.git(&["push", "-q", "--force", &upstream.url(), "live"]);
    wait_for(&gateway, "second");
    gateway.stop();
}

#[test]
fn a_hangup_fetches_at_once() {
    let (workshop, work, upstream) = pushed();
    let mirror = workshop.clone_of(&upstream.url(), "mirror.git", &["--mirror"]);
    let gateway = begin(&workshop, &mirror, "main:gateway.d")
        .environment("TIDEGATE_POLL_SECONDS", NEVER)
        .environment("TIDEGATE_GIT_FETCH", "24h")
        .start();
    let first = wait_for_fetch(&gateway, "fetched");
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&upstream);
    gateway.signal("HUP");
    wait_for(&gateway, "second");
    assert_ne!(gateway.status()["fetch"]["at"], first["at"]);
    gateway.stop();
}

#[test]
fn a_remote_over_ssh_is_fetched_from_with_the_key_of_the_repository() {
    let (workshop, work, upstream) = pushed();
    let ssh = SecureShell::new(&workshop.at("ssh"));
    let mirror = workshop.clone_of(&upstream.url(), "mirror.git", &["--mirror"]);
    mirror.git(&["remote", "set-url", "origin", &SecureShell::url(&upstream)]);
    mirror.git(&["config", "core.sshCommand", ssh.command()]);
    let gateway = fetching(&workshop, &mirror, "main:gateway.d").start();
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&upstream);
    wait_for(&gateway, "second");
    wait_for_fetch(&gateway, "fetched");
    // A host that is not known is nothing to ask anybody about.
    gateway.claim("nothing can be fetched");
    std::fs::write(workshop.at("ssh/known_hosts"), "").unwrap();
    let fetch = wait_for_fetch(&gateway, "failed");
    assert!(
        fetch.to_string().contains("Host key verification failed"),
        "{fetch}"
    );
    assert!(is_served(&gateway, "second"));
    gateway.stop();
}

#[test]
fn a_remote_over_http_that_goes_away_changes_nothing_and_its_password_is_never_told() {
    let (workshop, work, upstream) = pushed();
    let server = FileServer::start(workshop.at("."), Behaviour::Serves);
    let mirror = workshop.clone_of(&upstream.url(), "mirror.git", &["--mirror"]);
    mirror.git(&["remote", "set-url", "origin", &server.url("bare.git")]);
    upstream.git(&["update-server-info"]);
    let gateway = fetching(&workshop, &mirror, "main:gateway.d").start();
    gateway.claim("nothing can be fetched");
    wait_for_fetch(&gateway, "fetched");
    for (round, behaviour) in [Behaviour::Refuses, Behaviour::Refuses]
        .into_iter()
        .enumerate()
    {
        server.behave(behaviour);
        let fetch = wait_for_fetch(&gateway, "failed");
        assert!(fetch.to_string().contains("fatal: "), "{fetch}");
        assert!(is_served(&gateway, "shop"));
        assert_eq!(gateway.status()["degraded"], false, "the tree is good");
        let service = format!("round{round}");
        work.write("gateway.d/more.toml", sqlite_service(&service, "shop.db"));
        work.push(&upstream);
        upstream.git(&["update-server-info"]);
        // It fails again and again, and says so once.
        let failures = |text: &str| text.matches("nothing can be fetched").count();
        eventually("a second failure", 30, || {
            let metrics = gateway.operations("/metrics").text();
            let line = "tidegate_git_fetches_total{outcome=\"failed\"} ";
            let rest = metrics.split(line).nth(1)?;
            let count: usize = rest.lines().next()?.parse().ok()?;
            (count >= 2 * (round + 1)).then_some(())
        });
        assert_eq!(failures(&gateway.log()), round + 1, "{}", gateway.log());
        server.behave(Behaviour::Serves);
        gateway.signal("HUP");
        wait_for(&gateway, &service);
    }
    assert!(gateway.log().contains("fetching works again"));
    let was_sent = server
        .requests()
        .iter()
        .any(|head| head.to_lowercase().contains("authorization: basic"));
    assert!(was_sent, "the password was never needed");
    for told in [
        gateway.log(),
        gateway.status().to_string(),
        gateway.operations("/metrics").text(),
    ] {
        assert!(!told.contains("s3cret"), "{told}");
    }
    gateway.stop();
}

#[test]
fn a_remote_that_hangs_is_given_up_and_holds_nothing_up() {
    let (workshop, work, upstream) = pushed();
    let server = FileServer::start(workshop.at("."), Behaviour::Hangs);
    let mirror = workshop.clone_of(&upstream.url(), "mirror.git", &["--mirror"]);
    mirror.git(&["remote", "set-url", "origin", &server.url("bare.git")]);
    let gateway = fetching(&workshop, &mirror, "main:gateway.d")
        .environment("TIDEGATE_POLL_SECONDS", NEVER)
        .environment("TIDEGATE_GIT_FETCH_TIMEOUT", "3s")
        .start();
    gateway.claim("nothing can be fetched");
    eventually("a request to the remote", 30, || {
        (!server.requests().is_empty()).then_some(())
    });
    // The remote is being waited for, and a push into the mirror itself goes live.
    work.write("gateway.d/second.toml", sqlite_service("second", "shop.db"));
    work.push(&mirror);
    wait_for(&gateway, "second");
    let fetch = wait_for_fetch(&gateway, "failed");
    assert!(
        fetch.to_string().contains("did not end within 3 s"),
        "{fetch}"
    );
    assert!(
        !mirror.path().join("refs/heads/main.lock").exists(),
        "git left a lock"
    );
    gateway.stop();
    let left = eventually("the end of every git of this test", 30, || {
        let left = running(&mirror);
        left.is_empty().then_some(left)
    });
    assert!(left.is_empty());
}

/// The command lines of processes that work on a repository.
fn running(repository: &Repository) -> Vec<String> {
    let path = repository.path().display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.starts_with("git") && line.contains(&path))
        .collect()
}
