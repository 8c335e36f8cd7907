//! What does systemd hear?

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::gateway::Start;
use crate::support::sample::{self, sqlite_service};
use crate::support::systemd::NotifySocket;
use crate::support::{TestGateway, WatchedDirectory, eventually};

const BROKEN: &str =
    "[service.broken]\ntype = \"sqlite\"\nlable = \"x\"\n\n[service.broken.config]\ndatabase = 5\n";

fn start(directory: &WatchedDirectory, socket: &NotifySocket) -> TestGateway {
    Start::new(&directory.tree(), &directory.data())
        .environment("NOTIFY_SOCKET", &socket.name)
        .start()
}

fn revision(gateway: &TestGateway) -> String {
    gateway.status()["revision"].as_str().unwrap().to_owned()
}

#[test]
fn it_hears_when_the_daemon_is_ready_what_it_serves_and_when_it_stops() {
    for socket in [NotifySocket::new(), NotifySocket::with_abstract_name()] {
        let directory = sample::shop();
        let gateway = start(&directory, &socket);
        let (first, ready) = socket.wait_for("READY", 0, |message| message.says("READY", "1"));
        assert_eq!(first, 0, "nothing comes before it");
        let expected = format!("serving {}, 1 service", revision(&gateway));
        assert_eq!(ready.get("STATUS"), Some(expected.as_str()));

        directory.write("second.toml", sqlite_service("second", "shop.db"));
        gateway.wait_for_generation_after(1);
        let expected = format!("serving {}, 2 services", revision(&gateway));
        socket.wait_for("the new revision", 1, |message| {
            message.says("STATUS", &expected)
        });

        gateway.stop();
        let heard = socket.heard();
        let last = heard.last().unwrap();
        assert!(last.says("STOPPING", "1"), "{last:?}");
        assert!(last.get("STATUS").unwrap().starts_with("stopping"));
        let extension: u64 = last.get("EXTEND_TIMEOUT_USEC").unwrap().parse().unwrap();
        assert!(extension > 30_000_000, "longer than the drain: {extension}");
        assert_eq!(count(&heard, "READY"), 1);
        assert_eq!(count(&heard, "RELOADING"), 0);
    }
}

fn count(heard: &[crate::support::systemd::Message], name: &str) -> usize {
    heard
        .iter()
        .filter(|message| message.get(name).is_some())
        .count()
}

#[test]
fn every_hangup_is_a_reload_that_ends_with_the_look() {
    let socket = NotifySocket::new();
    let directory = sample::shop();
    let gateway = start(&directory, &socket);
    let (mut seen, _) = socket.wait_for("READY", 0, |message| message.says("READY", "1"));
    let mut last_moment = 0;
    for round in 0..5 {
        // A change just before the signal is part of what the reload answers for.
        directory.write(
            "second.toml",
            format!("# {round}\n{}", sqlite_service("second", "shop.db")),
        );
        gateway.signal("HUP");
        let (number, reloading) = socket.wait_for("RELOADING", seen + 1, |message| {
            message.says("RELOADING", "1")
        });
        let moment: u64 = reloading.get("MONOTONIC_USEC").unwrap().parse().unwrap();
        assert!(moment > last_moment, "{moment} after {last_moment}");
        last_moment = moment;
        let (ready, message) =
            socket.wait_for("READY", number + 1, |message| message.says("READY", "1"));
        let status = message.get("STATUS").unwrap().to_owned();
        assert!(
            status.contains(&revision(&gateway)) && status.ends_with("2 services"),
            "{status}"
        );
        seen = ready;
    }
    let heard = socket.heard();
    assert_eq!(count(&heard, "RELOADING"), 5);
    assert_eq!(count(&heard, "READY"), 6);
    gateway.stop();
}

#[test]
fn a_broken_tree_is_in_the_status_line_until_it_is_mended() {
    let socket = NotifySocket::new();
    let directory = sample::shop();
    let gateway = start(&directory, &socket);
    gateway.claim("refused");
    let serving = format!("serving {}, 1 service", revision(&gateway));
    let degraded = format!("degraded: serving {}; ", revision(&gateway));
    socket.wait_for("READY", 0, |message| message.says("READY", "1"));
    directory.write("broken.toml", BROKEN);
    let (number, message) = socket.wait_for("the first error", 1, |message| {
        message
            .get("STATUS")
            .is_some_and(|line| line.starts_with(&degraded))
    });
    let line = message.get("STATUS").unwrap().to_owned();
    assert!(
        line.contains("broken.toml:3:1: unknown key `lable`"),
        "{line}"
    );
    assert!(line.ends_with("(and 1 more)"), "{line}");

    // The reload has ended all the same, and says how.
    gateway.signal("HUP");
    let (number, reloading) = socket.wait_for("RELOADING", number + 1, |message| {
        message.says("RELOADING", "1")
    });
    assert!(reloading.get("MONOTONIC_USEC").is_some());
    let (number, ready) =
        socket.wait_for("READY", number + 1, |message| message.says("READY", "1"));
    assert_eq!(ready.get("STATUS"), Some(line.as_str()));

    directory.remove("broken.toml");
    socket.wait_for("the end of the degradation", number + 1, |message| {
        message.says("STATUS", &serving)
    });
    gateway.stop();
}

#[test]
fn a_last_good_tree_is_in_the_status_line() {
    let directory = sample::shop();
    let state = tempfile::tempdir().unwrap();
    let begin = |socket: &NotifySocket| {
        Start::new(&directory.tree(), &directory.data())
            .state(state.path())
            .environment("NOTIFY_SOCKET", &socket.name)
            .start()
    };
    let gateway = begin(&NotifySocket::new());
    gateway.claim("systemd");
    eventually("the tree is kept", 30, || {
        gateway.status()["last_good"]["digest"].as_str().map(drop)
    });
    gateway.stop();
    directory.write("broken.toml", BROKEN);
    let socket = NotifySocket::new();
    let gateway = begin(&socket);
    gateway.claim("refused");
    let (_, ready) = socket.wait_for("READY", 0, |message| message.says("READY", "1"));
    let line = ready.get("STATUS").unwrap();
    assert!(
        line.starts_with("degraded: serving the last good tree of 20")
            && line.contains("broken.toml"),
        "{line}"
    );
    gateway.stop();
}

#[test]
fn the_watchdog_is_fed_while_the_daemon_lives_and_asked_to() {
    let directory = sample::shop();
    let socket = NotifySocket::new();
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("NOTIFY_SOCKET", &socket.name)
        .environment("WATCHDOG_USEC", "400000")
        .start();
    let fed = || count(&socket.heard(), "WATCHDOG");
    eventually("five pings", 30, || (fed() >= 5).then_some(()));
    gateway.signal("STOP");
    // What was on its way is heard, and then nothing more.
    let mut before = fed();
    eventually("silence", 30, || {
        std::thread::park_timeout(std::time::Duration::from_millis(600));
        let now = fed();
        let is_silent = now == before;
        before = now;
        is_silent.then_some(())
    });
    gateway.signal("CONT");
    eventually("pings again", 30, || (fed() > before).then_some(()));
    gateway.stop();

    let socket = NotifySocket::new();
    let gateway = start(&directory, &socket);
    gateway.signal("HUP");
    socket.wait_for("RELOADING", 0, |message| message.says("RELOADING", "1"));
    gateway.stop();
    assert_eq!(count(&socket.heard(), "WATCHDOG"), 0, "nobody asked for it");
}

#[test]
fn nobody_to_hear_is_no_reason_to_fail() {
    let directory = sample::shop();
    for name in ["/nonexistent/notify", "vsock:2:1234", ""] {
        let gateway = Start::new(&directory.tree(), &directory.data())
            .environment("NOTIFY_SOCKET", name)
            .start();
        gateway.claim("systemd");
        assert_eq!(gateway.operations("/readyz").status, 200);
        gateway.stop();
    }
}

#[test]
fn children_do_not_inherit_what_systemd_told_the_daemon() {
    let directory = sample::shop();
    let mirror = directory.data().join("mirror.git");
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(directory.tree())
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .output()
            .expect("git is there");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "a"]);
    git(&["clone", "-q", "--mirror", ".", mirror.to_str().unwrap()]);

    // A git that writes its environment down and fetches nothing.
    let tools = tempfile::tempdir().unwrap();
    let heard = tools.path().join("environment");
    let spy = tools.path().join("git");
    let script = format!(
        "#!/bin/sh\nenv > {0}.new && mv {0}.new {0}\n",
        heard.display()
    );
    std::fs::write(&spy, script).unwrap();
    std::fs::set_permissions(&spy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = NotifySocket::new();
    let path = std::env::var("PATH").unwrap();
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let source = format!("git:{}#main", mirror.display());
    let gateway = Start::new(std::path::Path::new(&source), &directory.data())
        .arguments(&["--git-fetch", "1s"])
        .environment("NOTIFY_SOCKET", &socket.name)
        .environment("WATCHDOG_USEC", "60000000")
        .environment("PATH", &format!("{}:{path}", tools.path().display()))
        .sockets("api:ops", &sockets[0], &sockets[1])
        .start();
    let environment = eventually("git was asked", 30, || std::fs::read_to_string(&heard).ok());
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    assert!(environment.contains("PATH="), "{environment}");
    gateway.stop();
}
