//! A PostgreSQL server of one's own: a fresh cluster in a temporary folder, on a free port of 127.0.0.1, stopped
//! when it goes out of scope.

#![expect(
    clippy::disallowed_methods,
    reason = "tests may read and write files without going through the tree"
)]

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The superuser of the cluster.
pub(crate) const USER: &str = "tidegate";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";
/// The database that is there from the start.
pub(crate) const DATABASE: &str = "postgres";

const INSTALL: &str = "install it with `tests/run --install-only`, or `apt-get install postgresql`";
/// How long to wait for the server, in steps.
const STEPS: u32 = 3000;
const STEP: Duration = Duration::from_millis(20);

/// A running server. Its methods panic, as tests do.
pub(crate) struct PostgresqlServer {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl PostgresqlServer {
    /// A server without TLS.
    pub(crate) fn start() -> Self {
        Self::with_options(&[])
    }

    /// A server of version 18, which `tests/backends/postgresql18` unpacks.
    pub(crate) fn start_18() -> Self {
        let programs = programs_18().expect("run `tests/backends/postgresql18` first");
        let mut server = Self::create_of(programs);
        server.launch();
        server
    }

    /// A server with TLS, whose certificate is valid for `localhost` and signed by [`PostgresqlServer::authority`].
    pub(crate) fn start_with_tls() -> Self {
        let mut server = Self::create();
        server.make_certificates();
        server.options = [
            "ssl=on",
            "ssl_cert_file=server.pem",
            "ssl_key_file=server.key",
        ]
        .map(str::to_owned)
        .to_vec();
        server.launch();
        server
    }

    /// A server with settings such as `max_connections=20`.
    pub(crate) fn with_options(options: &[&str]) -> Self {
        let mut server = Self::create();
        server.options = options.iter().map(|&option| option.to_owned()).collect();
        server.launch();
        server
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate that signed the server's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.data().join("authority.pem")
    }

    /// Runs SQL as the superuser; gives what it prints, unaligned and without headers.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args(["-h", "127.0.0.1", "-U", USER, "-d", DATABASE, "-p"])
            .arg(self.port.to_string())
            .env("PGPASSWORD", PASSWORD)
            .env("PGAPPNAME", "psql")
            .stdin(Stdio::from(self.scratch_file(sql)))
            .output()
            .expect("psql can be run");
        assert!(
            output.status.success(),
            "psql failed: {}\n{sql}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Stops the server: connections are closed at once. Does nothing if it is stopped.
    pub(crate) fn stop(&mut self) {
        // PostgreSQL's "fast shutdown".
        self.end_by("-INT");
    }

    /// Ends the server as a crash does: nothing is tidied up, and the next start recovers.
    pub(crate) fn crash(&mut self) {
        // PostgreSQL's "immediate shutdown".
        self.end_by("-QUIT");
    }

    fn end_by(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let _ = Command::new("kill")
            .args([signal, &process.id().to_string()])
            .status();
        for _ in 0..STEPS / 10 {
            if matches!(process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::park_timeout(STEP);
        }
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Starts a stopped server again, on the same port and with the same data.
    pub(crate) fn start_again(&mut self) {
        self.launch();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn scratch_file(&self, text: &str) -> File {
        let path = self
            .folder
            .path()
            .join(format!("{:?}.sql", std::thread::current().id()));
        std::fs::write(&path, text).expect("the folder can be written");
        File::open(&path).expect("the file was just written")
    }

    fn create() -> Self {
        Self::create_of(programs())
    }

    fn create_of(programs: PathBuf) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-postgresql-")
            .tempdir()
            .expect("a temporary folder");
        if let Some(owner) = owner() {
            chown(folder.path(), Some(owner), None).expect("root may give folders away");
        }
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the folder can be written");
        let server = Self {
            programs,
            port: free_port(),
            folder,
            options: Vec::new(),
            process: None,
        };
        let output = server
            .command("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth=scram-sha-256", "--username", USER, "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(server.data())
            .output()
            .expect("initdb can be run");
        assert!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        server
    }

    fn launch(&mut self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("the folder can be written");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let port = format!("port={}", self.port);
        let socket = format!("unix_socket_directories={}", self.folder.path().display());
        for option in [
            port.as_str(),
            socket.as_str(),
            "listen_addresses=127.0.0.1",
            "fsync=off",
            // A crash of the server must not lose what it told as written. Without fsync that
            // costs next to nothing.
            "synchronous_commit=on",
            "full_page_writes=off",
            "autovacuum=off",
        ]
        .into_iter()
        .chain(self.options.iter().map(String::as_str))
        {
            command.args(["-c", option]);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres can be run");
        self.process = Some(process);
        for _ in 0..STEPS {
            if self.is_ready() {
                return;
            }
            let has_ended = self
                .process
                .as_mut()
                .is_some_and(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!has_ended, "postgres ended: {}", self.log());
            std::thread::park_timeout(STEP);
        }
        panic!("postgres did not get ready: {}", self.log());
    }

    fn is_ready(&self) -> bool {
        Command::new(self.programs.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p"])
            .arg(self.port.to_string())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// A program of the server, as the owner of the cluster: PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if owner().is_some() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .current_dir(self.folder.path())
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn make_certificates(&self) {
        let data = self.data();
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl")
                .current_dir(&data)
                .args(arguments)
                .output()
                .expect("openssl can be run; it comes with Debian's postgresql");
            assert!(
                output.status.success(),
                "openssl failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        std::fs::write(data.join("server.ext"), "subjectAltName=DNS:localhost\n")
            .expect("the folder can be written");
        let curve = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ];
        let mut authority = vec!["req", "-x509", "-days", "2", "-subj", "/CN=Test authority"];
        authority.extend(curve);
        authority.extend(["-keyout", "authority.key", "-out", "authority.pem"]);
        openssl(&authority);
        let mut request = vec!["req", "-subj", "/CN=localhost"];
        request.extend(curve);
        request.extend(["-keyout", "server.key", "-out", "server.csr"]);
        openssl(&request);
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-extfile",
            "server.ext",
            "-out",
            "server.pem",
        ]);
        if let Some(owner) = owner() {
            chown(data.join("server.key"), Some(owner), None).expect("root may give files away");
        }
        let status = Command::new("chmod")
            .arg("600")
            .arg(data.join("server.key"))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "chmod failed");
    }
}

impl Drop for PostgresqlServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of the newest server's programs.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .collect();
    found.sort();
    match found.pop() {
        Some((_, programs)) => programs,
        None => panic!("no PostgreSQL server in /usr/lib/postgresql; {INSTALL}"),
    }
}

/// The folder of version 18's programs, if it was unpacked.
pub(crate) fn programs_18() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/backends");
    let named = std::env::var_os("TIDEGATE_TEST_BACKENDS").map(PathBuf::from);
    let apart = PathBuf::from("/var/tmp/tidegate-backends");
    [named.unwrap_or(own), apart]
        .into_iter()
        .map(|folder| folder.join("postgresql18/bin18"))
        .find(|programs| programs.join("initdb").exists() && is_in_reach(programs))
        .and_then(|programs| programs.canonicalize().ok())
}

/// Whether the user that runs the server can enter a folder.
fn is_in_reach(folder: &Path) -> bool {
    let Some(owner) = owner() else {
        return true;
    };
    Command::new("setpriv")
        .arg(format!("--reuid={owner}"))
        .args(["--clear-groups", "test", "-x"])
        .arg(folder)
        .status()
        .is_ok_and(|status| status.success())
}

/// The user `postgres`, if the tests run as root.
fn owner() -> Option<u32> {
    let own = std::fs::metadata("/proc/self").expect("Linux").uid();
    if own != 0 {
        return None;
    }
    let output = Command::new("id").args(["-u", "postgres"]).output();
    let id = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    assert!(id.is_some(), "there is no user `postgres`; {INSTALL}");
    id
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
