//! A MySQL or MariaDB server of one's own: a copy of a fresh data folder, on a free port of 127.0.0.1, stopped when it
//! goes out of scope.

#![expect(
    clippy::disallowed_methods,
    reason = "tests may read and write files without going through the tree"
)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An account that may do everything.
pub(crate) const USER: &str = "tidegate";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";
/// A database that is there from the start.
pub(crate) const DATABASE: &str = "app";

/// How long to wait for the server, in steps.
const STEPS: u32 = 3000;
const STEP: Duration = Duration::from_millis(20);

/// The two products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brand {
    /// MySQL, as `tests/backends/mysql` unpacks it.
    Mysql,
    /// MariaDB, as Debian has it.
    Mariadb,
}

impl Brand {
    /// The name of the service type, and of the product in `TIDEGATE_TEST_REQUIRE`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    /// How to get the server, if it is not there.
    pub(crate) fn missing(self) -> Option<&'static str> {
        match self {
            Self::Mysql => (!tree().join("start").exists()).then_some(
                "unpack it with `tests/backends/mysql`, or with `tests/run --install-only`",
            ),
            Self::Mariadb => mariadbd().is_none().then_some(
                "install it with `tests/run --install-only`, or `apt-get install mariadb-server`",
            ),
        }
    }

    /// The server's program.
    fn server(self) -> Command {
        let mut command = match self {
            Self::Mysql => {
                let tree = tree();
                let mut command = Command::new(tree.join("start"));
                command.args(["mysqld", "--no-defaults"]);
                command.arg(format!("--basedir={}", tree.join("usr").display()));
                command.arg(format!(
                    "--lc-messages-dir={}",
                    tree.join("usr/share/mysql").display()
                ));
                command.arg(format!(
                    "--plugin-dir={}",
                    tree.join("usr/lib/mysql/plugin").display()
                ));
                command.args(["--secure-file-priv=NULL", "--innodb-redo-log-capacity=8M"]);
                command
            }
            Self::Mariadb => {
                let mut command = Command::new(mariadbd().expect("mariadbd is there"));
                command.args(["--no-defaults", "--innodb-log-file-size=4M"]);
                command
            }
        };
        if owner().is_some() {
            command.arg("--user=mysql");
        }
        command
    }

    /// A data folder that no server has run on yet, made once for each version.
    fn fresh_data(self) -> PathBuf {
        let version = self.server().arg("--version").output();
        let version = version.expect("the server can be run").stdout;
        let version: String = String::from_utf8_lossy(&version)
            .split_whitespace()
            .skip_while(|word| !word.starts_with("Ver"))
            .nth(1)
            .unwrap_or("unknown")
            .to_owned();
        let backends = backends();
        let fresh = backends.join(format!("{}-data-{version}", self.name()));
        if fresh.exists() {
            return fresh;
        }
        let making = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(&backends)
            .expect("the folder of backends can be written");
        give_away(making.path());
        let data = making.path().join("data");
        let output = match self {
            Self::Mysql => self
                .server()
                .arg(format!("--datadir={}", data.display()))
                .arg("--initialize-insecure")
                .output(),
            Self::Mariadb => {
                let mut command = Command::new("mariadb-install-db");
                command
                    .args(["--no-defaults", "--skip-test-db"])
                    .args(["--auth-root-authentication-method=normal"])
                    .args(["--innodb-log-file-size=4M"])
                    .arg(format!("--datadir={}", data.display()));
                if owner().is_some() {
                    command.arg("--user=mysql");
                }
                command.output()
            }
        }
        .expect("the data folder can be made");
        assert!(
            output.status.success(),
            "no data folder: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        // Another test may have been faster.
        if std::fs::rename(&data, &fresh).is_err() {
            assert!(fresh.exists(), "{} cannot be made", fresh.display());
        }
        fresh
    }
}

/// A running server. Its methods panic, as tests do.
pub(crate) struct MysqlServer {
    brand: Brand,
    folder: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl MysqlServer {
    /// A server without TLS of its own making.
    pub(crate) fn start(brand: Brand) -> Self {
        Self::with_options(brand, &[])
    }

    /// A server with TLS, whose certificate is valid for `localhost` and signed by [`MysqlServer::authority`].
    pub(crate) fn start_with_tls(brand: Brand) -> Self {
        let mut server = Self::create(brand);
        server.make_certificates();
        server.options = ["server.pem", "server.key"]
            .iter()
            .zip(["--ssl-cert", "--ssl-key"])
            .map(|(file, option)| format!("{option}={}", server.folder.path().join(file).display()))
            .collect();
        server.launch();
        server
    }

    /// A server with options such as `--max-connections=20`.
    pub(crate) fn with_options(brand: Brand, options: &[&str]) -> Self {
        let mut server = Self::create(brand);
        server.options = options.iter().map(|&option| option.to_owned()).collect();
        server.launch();
        server
    }

    /// The product.
    pub(crate) fn brand(&self) -> Brand {
        self.brand
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The certificate that signed the server's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Runs SQL as the superuser in [`DATABASE`]; gives what it prints, with tabs and without headers.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut client = self
            .client("mariadb")
            .args([
                "--batch",
                "--skip-column-names",
                "--default-character-set=utf8mb4",
            ])
            .arg(DATABASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mariadb can be run");
        client
            .stdin
            .take()
            .expect("it was asked for")
            .write_all(sql.as_bytes())
            .expect("mariadb reads");
        let output = client.wait_with_output().expect("mariadb ends");
        assert!(
            output.status.success(),
            "mariadb failed: {}\n{sql}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Kills the server: connections break off. Does nothing if it is stopped.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts a stopped server again, on the same port and with the same data.
    pub(crate) fn start_again(&mut self) {
        self.launch();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn create(brand: Brand) -> Self {
        if let Some(how) = brand.missing() {
            panic!("there is no {} server; {how}", brand.name());
        }
        let fresh = brand.fresh_data();
        let folder = tempfile::Builder::new()
            .prefix("tidegate-mysql-")
            .tempdir()
            .expect("a temporary folder");
        give_away(folder.path());
        let data = folder.path().join("data");
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([&fresh, &data])
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "the data folder cannot be copied"
        );
        // MySQL refuses to run beside a server with the same identity, as a replica would be.
        let _ = std::fs::remove_file(data.join("auto.cnf"));
        let temporary = folder.path().join("temporary");
        std::fs::create_dir(&temporary).expect("the folder can be written");
        give_away(&temporary);
        std::fs::write(
            folder.path().join("init.sql"),
            format!(
                "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
                 GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n\
                 CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n"
            ),
        )
        .expect("the folder can be written");
        Self {
            brand,
            port: free_port(),
            folder,
            options: Vec::new(),
            process: None,
        }
    }

    fn launch(&mut self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("the folder can be written");
        let folder = self.folder.path().display();
        let mut command = self.brand.server();
        command
            .arg(format!("--datadir={folder}/data"))
            // A server that starts removes the tables of all others from a folder that they share.
            .arg(format!("--tmpdir={folder}/data"))
            .arg(format!("--socket={folder}/socket"))
            .arg(format!("--pid-file={folder}/pid"))
            // A server that starts removes the temporary tables of those that share its folder.
            .arg(format!("--tmpdir={folder}/temporary"))
            .arg(format!("--init-file={folder}/init.sql"))
            .arg(format!("--port={}", self.port))
            .args([
                "--bind-address=127.0.0.1",
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-buffer-pool-size=32M",
                "--performance-schema=OFF",
                "--skip-log-bin",
            ]);
        match self.brand {
            Brand::Mysql => command.args(["--mysqlx=OFF", "--skip-name-resolve"]),
            Brand::Mariadb => command.args(["--skip-name-resolve"]),
        };
        let process = command
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server can be run");
        self.process = Some(process);
        for _ in 0..STEPS {
            if self.is_ready() {
                return;
            }
            let has_ended = self
                .process
                .as_mut()
                .is_some_and(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!has_ended, "the server ended: {}", self.log());
            std::thread::park_timeout(STEP);
        }
        panic!("the server did not get ready: {}", self.log());
    }

    fn is_ready(&self) -> bool {
        self.socket().exists()
            && self
                .client("mariadb-admin")
                .args(["--connect-timeout=2", "ping"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }

    /// MariaDB's own programs speak to both.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()))
            .arg("--user=root");
        command
    }

    fn make_certificates(&self) {
        let folder = self.folder.path();
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl")
                .current_dir(folder)
                .args(arguments)
                .output()
                .expect("openssl can be run");
            assert!(
                output.status.success(),
                "openssl failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        std::fs::write(folder.join("server.ext"), "subjectAltName=DNS:localhost\n")
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
        give_away(&folder.join("server.key"));
    }
}

impl Drop for MysqlServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where `tests/backends` puts things.
fn backends() -> PathBuf {
    let folder = std::env::var_os("TIDEGATE_TEST_BACKENDS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/backends"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).expect("the folder of backends can be made");
    folder
}

fn tree() -> PathBuf {
    backends().join("mysql")
}

fn mariadbd() -> Option<&'static str> {
    ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}

/// Makes the user `mysql` the owner, if the tests run as root: the servers refuse to.
fn give_away(path: &Path) {
    if let Some(owner) = owner() {
        chown(path, Some(owner), None).expect("root may give files away");
    }
}

/// The user `mysql`, if the tests run as root.
fn owner() -> Option<u32> {
    let own = std::fs::metadata("/proc/self").expect("Linux").uid();
    if own != 0 {
        return None;
    }
    let output = Command::new("id").args(["-u", "mysql"]).output();
    let id = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    assert!(
        id.is_some(),
        "there is no user `mysql`; `apt-get install mariadb-server` makes it"
    );
    id
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
