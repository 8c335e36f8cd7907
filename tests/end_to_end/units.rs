//! Are the units in `systemd/` good, and do they fit the binary?

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::gateway::{Start, binary};
use crate::support::sample;

/// Of what `systemd-analyze security` counts, at most so much.
const LARGEST_EXPOSURE: f64 = 2.0;

const UNITS: [&str; 5] = [
    "tidegate.service",
    "tidegate.socket",
    "tidegate-ops.socket",
    "tidegate-pull.service",
    "tidegate-pull.timer",
];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The values of a setting of a unit.
fn settings(unit: &str, name: &str) -> Vec<String> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

fn setting(unit: &str, name: &str) -> String {
    let mut values = settings(unit, name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values.remove(0)
}

fn systemd_analyze(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .args(files)
        .output()
        .expect("systemd-analyze is there: Debian's package is systemd")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn version() -> u32 {
    let output = systemd_analyze(&["--version"], &[]);
    text(&output)
        .split_whitespace()
        .nth(1)
        .and_then(|version| version.parse().ok())
        .expect("a version")
}

/// Copies of all units in a folder of their own, where the service starts the binary under test.
fn installed() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = UNITS
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            let program = binary().display().to_string();
            std::fs::write(&path, unit(name).replace("/usr/bin/tidegate", &program)).unwrap();
            path
        })
        .collect();
    (folder, files)
}

#[test]
fn systemd_accepts_them() {
    let (folder, files) = installed();
    let found = text(&systemd_analyze(&["verify"], &files));
    // The drop-in is for a systemd that does not know this type, and mends it.
    let is_known = |line: &str| version() < 253 && line.ends_with("ignoring: notify-reload");
    let problems: Vec<&str> = found
        .lines()
        .filter(|line| line.contains("tidegate") && !is_known(line))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    let drop_ins = folder.path().join("tidegate.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("before-253.conf"), unit("before-253.conf")).unwrap();
    let output = systemd_analyze(&["verify"], &files);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn they_may_do_little() {
    let (_folder, files) = installed();
    for file in files.iter().filter(|file| {
        file.extension()
            .is_some_and(|extension| extension == "service")
    }) {
        let output = systemd_analyze(
            &["security", "--offline=true", "--no-pager"],
            std::slice::from_ref(file),
        );
        let shown = text(&output);
        let (_, level) = shown
            .split_once("Overall exposure level for ")
            .unwrap_or_else(|| panic!("no level in\n{shown}"));
        let (_, level) = level.split_once(": ").unwrap();
        let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
        assert!(level < LARGEST_EXPOSURE, "{}: {level}", file.display());
    }
}

#[test]
fn every_flag_and_variable_that_they_name_exists() {
    let service = unit("tidegate.service");
    let command = setting(&service, "ExecStart");
    let (program, arguments) = command.split_once(' ').unwrap();
    assert_eq!(program, "/usr/bin/tidegate");
    let output = Command::new(binary())
        .args(arguments.split(' '))
        .arg("--help")
        .output()
        .unwrap();
    let help = text(&output);
    assert_eq!(output.status.code(), Some(0), "{help}");
    let pull = unit("tidegate-pull.service");
    let mut count = 0;
    for word in (service + &pull)
        .split(|character: char| !(character.is_ascii_uppercase() || character == '_'))
    {
        // The one of the pull unit is its own.
        if word.starts_with("TIDEGATE_") && !matches!(word, "TIDEGATE_" | "TIDEGATE_REPOSITORY") {
            count += 1;
            assert!(help.contains(&format!("[env: {word}=")), "{word}");
        }
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn their_sockets_are_those_that_the_daemon_takes() {
    let names: Vec<String> = ["tidegate.socket", "tidegate-ops.socket"]
        .iter()
        .map(|name| setting(&unit(name), "FileDescriptorName"))
        .collect();
    let directory = sample::shop();
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let gateway = Start::new(&directory.tree(), &directory.data())
        .sockets(&names.join(":"), &sockets[0], &sockets[1])
        .start();
    assert_eq!(gateway.api, sockets[0].local_addr().unwrap());
    assert_eq!(gateway.operations, sockets[1].local_addr().unwrap());
    gateway.stop();
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .output()
        .expect("git is there");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_the_pull_unit_pulls_is_served_at_once() {
    let shop = sample::shop();
    let origin = shop.tree();
    git(&origin, &["init", "-q", "-b", "main"]);
    let commit = || {
        git(&origin, &["add", "."]);
        git(&origin, &["commit", "-qm", "a"]);
        git(&origin, &["rev-parse", "main"])
    };
    let first = commit();
    let state = tempfile::tempdir().unwrap();
    pull(state.path(), &origin);
    // As the unit says it, but for the folder of the tree, which is the whole repository here.
    let example = unit("tidegate-pull.service");
    let (_, source) = example.split_once("TIDEGATE_CONFIG=").unwrap();
    let source = source
        .lines()
        .next()
        .unwrap()
        .replace("/var/lib", state.path().to_str().unwrap())
        .replace(":gateway.d", "");
    let gateway = Start::new(Path::new(&source), &shop.data()).start();
    assert_eq!(gateway.status()["commit"], first);
    shop.write("second.toml", sample::sqlite_service("second", "shop.db"));
    let second = commit();
    pull(state.path(), &origin);
    gateway.wait_for_generation_after(1);
    assert_eq!(gateway.status()["commit"], second);
    gateway.stop();
}

/// Runs the commands of the pull unit, with a state directory and a repository in place of the host's.
fn pull(state: &Path, origin: &Path) -> String {
    let mirror = state.join("tidegate-repository/mirror.git");
    std::fs::create_dir_all(mirror.parent().unwrap()).unwrap();
    for command in settings(&unit("tidegate-pull.service"), "ExecStart") {
        let words: Vec<String> = command
            .replace("%S", state.to_str().unwrap())
            .replace(
                "${TIDEGATE_REPOSITORY}",
                &format!("file://{}", origin.display()),
            )
            .split(' ')
            .map(str::to_owned)
            .collect();
        assert_eq!(words[0], "/usr/bin/git");
        let output = Command::new("git")
            .args(&words[1..])
            .env("HOME", state)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "", "a timer is quiet");
    }
    git(&mirror, &["rev-parse", "refs/heads/main"])
}

#[test]
fn the_pull_unit_makes_a_mirror_and_keeps_it_up_to_date() {
    let origin = tempfile::tempdir().unwrap();
    git(origin.path(), &["init", "-q", "-b", "main"]);
    let commit = |text: &str| {
        std::fs::write(origin.path().join("a.toml"), text).unwrap();
        git(origin.path(), &["add", "."]);
        git(origin.path(), &["commit", "-qm", "a"]);
        git(origin.path(), &["rev-parse", "main"])
    };
    let state = tempfile::tempdir().unwrap();
    let mirror = state.path().join("tidegate-repository/mirror.git");
    let pull = || pull(state.path(), origin.path());
    let first = commit("one");
    assert_eq!(pull(), first);
    assert_eq!(pull(), first, "nothing new");
    git(origin.path(), &["branch", "old"]);
    let second = commit("two");
    assert_eq!(pull(), second);
    // History that was rewritten, and a branch that is gone, arrive too.
    git(origin.path(), &["reset", "-q", "--hard", &first]);
    git(origin.path(), &["branch", "-D", "old"]);
    let third = commit("three");
    assert_eq!(pull(), third);
    assert_eq!(git(&mirror, &["branch", "--list", "old"]), "");
}
