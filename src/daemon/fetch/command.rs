//! The host's git, which knows its keys, proxies and credentials: started for one fetch, with an end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::child;
use crate::tree::git::Following;

/// Most bytes of what git says that are kept; the rest is read and forgotten.
const MAX_OUTPUT_BYTES: usize = 16 * 1024;
/// Most characters of a message about a failed fetch.
const MAX_MESSAGE_CHARACTERS: usize = 500;
/// How long git may take to put its locks away once it is told to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long the last words may take after git has ended; a helper that lives on may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What git says to people and what does not help here.
const BOILERPLATE: [&str; 2] = [
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];
/// Variables that would send git to another repository, or make it say more than it should.
const FOREIGN: [&str; 12] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_QUARANTINE_PATH",
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "SSH_ASKPASS",
];

/// Fetches, and says in a few words why that failed. Dropped half way, it tells git to end.
pub(super) async fn fetch(following: &Following, timeout: Duration) -> Result<(), String> {
    let ssh = ssh_command(&following.directory, timeout).await;
    let mut git = git(&following.directory);
    if let Some(ssh) = ssh {
        git.env("GIT_SSH_COMMAND", ssh);
    }
    git.args(["fetch", "--quiet", "--no-tags", "--no-prune"])
        .args(["--no-recurse-submodules", "--no-write-fetch-head", "--"])
        .args([&following.remote, &following.refspec]);
    match run(git, timeout).await? {
        Ended { is_good: true, .. } => Ok(()),
        Ended { error, .. } => Err(message(&error)),
    }
}

/// The program for remotes over SSH: the host's or the repository's own, told to ask nobody. None where the host names a
/// program (`GIT_SSH`) that may not know how to be told.
async fn ssh_command(directory: &Path, timeout: Duration) -> Option<String> {
    let of_host = std::env::var_os("GIT_SSH_COMMAND").map(|own| own.to_string_lossy().into_owned());
    let own = if of_host.is_some() {
        of_host
    } else {
        let mut git = git(directory);
        git.args(["config", "--get", "core.sshCommand"]);
        let ended = run(git, timeout).await.ok();
        ended
            .filter(|ended| ended.is_good)
            .map(|ended| ended.output.trim().to_owned())
    };
    let own = own.filter(|own| !own.is_empty());
    if own.is_none() && std::env::var_os("GIT_SSH").is_some() {
        return None;
    }
    let ssh = own.as_deref().unwrap_or("ssh");
    Some(format!("{ssh} -o BatchMode=yes"))
}

/// Git on one repository. Nothing that the repository's settings name as a hook or a monitor is run, nobody is asked for a
/// password, and what it does afterwards it does while we wait.
fn git(directory: &Path) -> Command {
    let mut git = child::command("git");
    for name in FOREIGN {
        git.env_remove(name);
    }
    git.env("GIT_TERMINAL_PROMPT", "0")
        .env("SSH_ASKPASS_REQUIRE", "never")
        .env("LC_ALL", "C");
    for setting in [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "gc.autoDetach=false",
        "maintenance.autoDetach=false",
    ] {
        git.args(["-c", setting]);
    }
    git.arg("--git-dir").arg(directory);
    git
}

/// What became of a command.
struct Ended {
    is_good: bool,
    output: String,
    error: String,
}

/// Everything that a command started, told to end when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // Whoever has ended already needs no telling.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// Runs a command to its end or to the deadline, whichever comes first.
async fn run(command: Command, timeout: Duration) -> Result<Ended, String> {
    let mut command = tokio::process::Command::from(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "git is not installed".to_owned(),
        _ => format!("git cannot be started: {error}"),
    })?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(leader.and_then(Pid::from_raw));
    let output = Words::of(child.stdout.take());
    let error = Words::of(child.stderr.take());
    let Ok(status) = tokio::time::timeout(timeout, child.wait()).await else {
        end(&mut child, &group).await;
        group.0 = None;
        let seconds = timeout.as_secs();
        return Err(format!(
            "git did not end within {seconds} s and was stopped"
        ));
    };
    // The number may belong to somebody else from here on.
    group.0 = None;
    let status = status.map_err(|error| format!("git is lost: {error}"))?;
    Ok(Ended {
        is_good: status.success(),
        output: output.last().await,
        error: error.last().await,
    })
}

/// Ends a command and all that it started: first so that git can put its locks away, then for good.
async fn end(child: &mut Child, group: &Group) {
    group.signal(Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        group.signal(Signal::KILL);
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
    }
}

/// What a command says, read as it comes; of too much the beginning is kept.
struct Words {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Words {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeper = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let mut kept = locked(&keeper);
                let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
        });
        Self { kept, reading }
    }

    /// Everything so far, after a last moment for what is still on its way.
    async fn last(mut self) -> String {
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.reading).await;
        String::from_utf8_lossy(&locked(&self.kept)).into_owned()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn locked(kept: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What git said, in one line for people, without anything that could be a password.
fn message(error: &str) -> String {
    let lines: Vec<String> = error
        .lines()
        .map(|line| {
            let shown = line.chars().filter(|character| !character.is_control());
            without_credentials(shown.collect::<String>().trim())
        })
        .filter(|line| !line.is_empty() && !BOILERPLATE.contains(&line.as_str()))
        .collect();
    let text = lines.join("; ");
    let shown: String = text.chars().take(MAX_MESSAGE_CHARACTERS).collect();
    match (shown.is_empty(), shown.len() < text.len()) {
        (true, _) => "git failed and did not say why".to_owned(),
        (false, true) => format!("{shown}…"),
        (false, false) => shown,
    }
}

/// A text with `…` for what stands before the `@` of addresses in it, and for what stands behind their `?`.
fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let is_end = |character: char| character.is_whitespace() || "'\"<>".contains(character);
        let end = after.find(is_end).unwrap_or(after.len());
        let (address, behind) = after.split_at(end);
        // A password may hold any character but for these when it is written as it should be; when it is not, too much is
        // left out rather than too little.
        let address = address
            .rsplit_once('@')
            .map_or(address.to_owned(), |(_, host)| format!("…@{host}"));
        let address = match address.split_once('?') {
            Some((path, _)) => format!("{path}?…"),
            None => address,
        };
        shown.push_str(before);
        shown.push_str("://");
        shown.push_str(&address);
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = child::command("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn no_password_of_an_address_is_shown() {
        for (text, shown) in [
            (
                "fatal: unable to access 'https://me:pa:ss@git.example.org/a.git/': refused",
                "fatal: unable to access 'https://…@git.example.org/a.git/': refused",
            ),
            (
                "https://token@host/a and ssh://git@host/b",
                "https://…@host/a and ssh://…@host/b",
            ),
            ("https://me:p@ss/word@host/a", "https://…@host/a"),
            (
                "https://host/a?private_token=abc#x 'https://h/?k=v'",
                "https://host/a?… 'https://h/?…'",
            ),
            (
                "fatal: file:///srv/a.git is away",
                "fatal: file:///srv/a.git is away",
            ),
            ("git@host:a.git: no", "git@host:a.git: no"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn a_message_is_one_line_of_what_matters() {
        let said = "ssh: connect to host h port 22: Connection refused\r\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(
            message(said),
            "ssh: connect to host h port 22: Connection refused; fatal: Could not read from remote repository."
        );
        assert_eq!(message("\u{1b}[31mred\u{7}\n"), "[31mred");
        assert_eq!(message(" \n"), "git failed and did not say why");
        let long = message(&"a".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_MESSAGE_CHARACTERS + 1);
    }

    #[tokio::test]
    async fn a_command_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let script = format!(
            "trap 'echo ended >> {0}; exit 1' TERM; sleep 600 & echo $! > {0}; wait",
            file.display()
        );
        let outcome = run(shell(&script), Duration::from_millis(300)).await;
        let message = outcome.err().unwrap();
        assert!(message.contains("did not end"), "{message}");
        #[expect(clippy::disallowed_methods, reason = "a test may block")]
        let text = std::fs::read_to_string(&file).unwrap();
        let (sleeper, ended) = text.split_once('\n').unwrap();
        assert_eq!(ended, "ended\n", "it was asked before it was killed");
        let is_there = || Path::new("/proc").join(sleeper).join("exe").exists();
        for _ in 0..100 {
            if !is_there() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sleeper} still runs");
    }

    #[tokio::test]
    async fn what_does_not_listen_is_killed() {
        let script = "trap '' TERM; while :; do sleep 1; done";
        let outcome = run(shell(script), Duration::from_millis(200)).await;
        assert!(outcome.is_err());
    }

    #[tokio::test]
    async fn much_output_is_bounded_and_a_helper_that_stays_is_not_waited_for() {
        let script = "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; exit 3";
        let ended = run(shell(script), Duration::from_mins(1)).await.unwrap();
        assert!(!ended.is_good);
        assert_eq!(ended.error.len(), MAX_OUTPUT_BYTES);
        let script = "sleep 600 & echo $!";
        let deadline = Duration::from_secs(20);
        let ended = tokio::time::timeout(deadline, run(shell(script), Duration::from_mins(1)));
        let ended = ended.await.unwrap().unwrap();
        assert!(ended.is_good);
        let sleeper: i32 = ended.output.trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(sleeper).unwrap(), Signal::KILL).unwrap();
    }
}
