//! The real binary, started on free ports and stopped by its pid.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Answer, TestClient};

/// How long the binary may take until it listens, and until it ends.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lines of both output streams, in the order in which they arrived.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, usize)>,
    changed: Condvar,
}

/// A running Tidegate.
pub struct TestGateway {
    child: Child,
    log: Arc<Log>,
    claims: Mutex<Vec<String>>,
    /// Address of the API.
    pub api: SocketAddr,
    /// Address of the operations listener.
    pub operations: SocketAddr,
    stopped: bool,
}

/// How to start one.
pub struct Start {
    command: Command,
    /// Whether the standard streams are sockets to hand over.
    hands_over: bool,
}

/// Hands the standard input and output over as the sockets 3 and 4, as systemd does: `$$` stays the process id.
const HAND_OVER: &str = "exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_PID=$$; exec \"$@\"";

impl TestGateway {
    /// Serves the manifests below `tree`; relative data paths start there as well.
    pub fn start(tree: impl AsRef<Path>) -> Self {
        let tree = tree.as_ref();
        Start::new(tree, tree).start()
    }

    /// Serves the manifests below `tree` with data paths that start at `data`.
    pub fn start_with_data(tree: impl AsRef<Path>, data: impl AsRef<Path>) -> Self {
        Start::new(tree.as_ref(), data.as_ref()).start()
    }

    /// A client of the API without credentials.
    pub fn client(&self) -> TestClient {
        TestClient::new(self.api)
    }

    /// A client of the API with a key.
    pub fn client_with(&self, key: &str) -> TestClient {
        TestClient::new(self.api).with_key(key)
    }

    /// An answer of the operations listener, unchecked.
    pub fn operations(&self, path: &str) -> Answer {
        TestClient::new(self.operations)
            .unchecked()
            .request("GET", path)
            .send()
    }

    /// The status page.
    pub fn status(&self) -> Value {
        let answer = self.operations("/status");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The generation that is being served.
    pub fn generation(&self) -> u64 {
        self.status()["generation"]
            .as_u64()
            .expect("/status has a number `generation`")
    }

    /// Waits until a later generation than `before` is served, and names it.
    pub fn wait_for_generation_after(&self, before: u64) -> u64 {
        super::eventually(
            &format!("a generation after {before}\n{}", self.log()),
            30,
            || Some(self.generation()).filter(|now| *now > before),
        )
    }

    /// Waits until the last attempt to reload was refused, and gives `last_attempt`.
    pub fn wait_for_refusal(&self) -> Value {
        super::eventually("a refused reload", 30, || {
            let attempt = self.status()["last_attempt"].clone();
            (attempt["outcome"] == "refused").then_some(attempt)
        })
    }

    /// How often it looked at the tree, by outcome (`applied`, `refused`, `unchanged`).
    pub fn looks(&self, outcome: &str) -> u64 {
        let metrics = self.operations("/metrics").text();
        let series = format!("tidegate_reloads_total{{outcome=\"{outcome}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.expect("the metric is there").parse().unwrap()
    }

    /// Says that warnings and errors which contain `text` are meant to be there.
    pub fn claim(&self, text: &str) {
        self.claims.lock().unwrap().push(text.to_owned());
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS is in /proc/PID/status");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
        kibibytes * 1024
    }

    /// Waits for the process to end of itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.stopped = true;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the gateway did not stop\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Stops it with SIGTERM; it must end well and must not have warned of anything that no test claimed.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        let complaints = self.unclaimed();
        assert!(
            status.success(),
            "the gateway ended with {status}\n{}",
            self.log()
        );
        assert!(
            complaints.is_empty(),
            "warnings that nobody claimed:\n{}",
            complaints.join("\n")
        );
    }

    fn unclaimed(&self) -> Vec<String> {
        let claims = self.claims.lock().unwrap();
        let lines = self.log.lines.lock().unwrap();
        lines
            .0
            .iter()
            .filter(|line| is_complaint(line))
            .filter(|line| !claims.iter().any(|claim| line.contains(claim.as_str())))
            .cloned()
            .collect()
    }
}

/// Whether a line is a warning, an error or no log line at all (a panic, for one).
fn is_complaint(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(line) => matches!(line["level"].as_str(), Some("WARN" | "ERROR") | None),
        Err(_) => !line.trim().is_empty(),
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}\n---", self.log());
        }
    }
}

impl Start {
    /// The binary with free ports, a tree and a data directory.
    pub fn new(tree: &Path, data: &Path) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0", "--log-format", "json"])
            .arg("--config")
            .arg(tree)
            .arg("--data-dir")
            .arg(data);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEGATE_") {
                command.env_remove(name);
            }
        }
        // What a service manager around the tests says is not meant for the gateway.
        for name in [
            "NOTIFY_SOCKET",
            "STATE_DIRECTORY",
            "WATCHDOG_USEC",
            "LISTEN_FDS",
        ] {
            command.env_remove(name);
        }
        Self {
            command,
            hands_over: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Keeps the last good tree there.
    #[must_use]
    pub fn state(self, directory: &Path) -> Self {
        self.arguments(&["--state-dir", directory.to_str().unwrap()])
    }

    /// Hands over two listening sockets, with `LISTEN_FDNAMES` where that is not empty. They stay open here.
    #[must_use]
    pub fn sockets(self, names: &str, first: &TcpListener, second: &TcpListener) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", HAND_OVER, "sh"])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(OwnedFd::from(first.try_clone().unwrap()))
            .stdout(OwnedFd::from(second.try_clone().unwrap()));
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("LISTEN_FDS", "2");
        if !names.is_empty() {
            command.env("LISTEN_FDNAMES", names);
        }
        Self {
            command,
            hands_over: true,
        }
    }

    fn spawn(&mut self) -> (Child, Arc<Log>) {
        if !self.hands_over {
            self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let mut child = self
            .command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Log::default());
        match child.stdout.take() {
            Some(stream) => collect(stream, Arc::clone(&log)),
            None => collect(std::io::empty(), Arc::clone(&log)),
        }
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        (child, log)
    }

    /// Adds a layer above those before.
    #[must_use]
    pub fn layer(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.arg("--config").arg(folder.as_ref());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Looks at the tree so often, whatever the file system tells.
    #[must_use]
    pub fn poll_seconds(self, seconds: u32) -> Self {
        self.environment("TIDEGATE_POLL_SECONDS", &seconds.to_string())
    }

    /// Starts it through another program, which must become it in the end (`exec`).
    #[must_use]
    pub fn through(self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.command.get_program());
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self {
            command,
            hands_over: self.hands_over,
        }
    }

    /// Starts it and waits until it says where it listens.
    pub fn start(mut self) -> TestGateway {
        let (mut child, log) = self.spawn();
        match wait_for_addresses(&mut child, &log) {
            Ok((api, operations)) => TestGateway {
                child,
                log,
                claims: Mutex::default(),
                api,
                operations,
                stopped: false,
            },
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                let lines = log.lines.lock().unwrap().0.join("\n");
                panic!("{why}\n--- log of the gateway ---\n{lines}\n---");
            }
        }
    }

    /// Runs it where it is expected to refuse: the exit status and everything it printed.
    pub fn expect_refusal(mut self) -> (ExitStatus, String) {
        let (mut child, log) = self.spawn();
        let status = super::eventually("the end of the process", 30, || child.try_wait().unwrap());
        // Both streams end with the process.
        super::eventually("the end of its output", 10, || {
            (log.lines.lock().unwrap().1 == 2).then_some(())
        });
        let lines = log.lines.lock().unwrap().0.join("\n");
        (status, lines)
    }
}

/// The path of the binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tidegate"))
}

/// Sends a signal to a process by its id. The shell's own `kill` is there on every machine.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("there is a shell");
    assert!(status.success(), "kill -{name} {pid}: {status}");
}

fn collect(stream: impl Read + Send + 'static, log: Arc<Log>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lines.lock().unwrap().0.push(line);
            log.changed.notify_all();
        }
        log.lines.lock().unwrap().1 += 1;
        log.changed.notify_all();
    });
}

fn wait_for_addresses(child: &mut Child, log: &Log) -> Result<(SocketAddr, SocketAddr), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = 0;
    let mut lines = log.lines.lock().unwrap();
    loop {
        let fresh: VecDeque<String> = lines.0.iter().skip(seen).cloned().collect();
        seen = lines.0.len();
        if let Some(addresses) = fresh.iter().find_map(|line| addresses_in(line)) {
            return Ok(addresses);
        }
        // Both output streams have ended: nothing more will come.
        if lines.1 == 2 {
            drop(lines);
            let status = child.wait().map_err(|error| error.to_string())?;
            return Err(format!("the gateway ended before it listened: {status}"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the gateway did not say where it listens".to_owned());
        }
        lines = log.changed.wait_timeout(lines, left).unwrap().0;
    }
}

/// The addresses in `{"message":"listening","api":"…","operations":"…"}`, flat or below `fields`.
fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    if fields["message"] != "listening" {
        return None;
    }
    let address = |name: &str| fields[name].as_str().and_then(|text| text.parse().ok());
    Some((address("api")?, address("operations")?))
}
