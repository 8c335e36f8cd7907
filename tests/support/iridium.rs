//! An emulator of SQL Server: tables in memory, on a free port of 127.0.0.1, stopped when it goes out of scope.
//!
//! It answers what SQL Server would for simple statements. It is not evidence that SQL Server takes them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

/// The login.
pub const USER: &str = "sa";
/// Its password.
pub const PASSWORD: &str = "Secret123!";
/// The database that is there from the start.
pub const DATABASE: &str = "master";

/// A running emulator. Its methods panic, as tests do.
pub struct Iridium {
    process: Child,
    port: u16,
}

impl Iridium {
    /// Starts the emulator; `None` where `tests/backends/iridium` has not built it.
    pub fn start() -> Option<Self> {
        let backends = std::env::var_os("TIDEGATE_TEST_BACKENDS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/backends"),
            PathBuf::from,
        );
        let program = backends.join("iridium/bin/iridium-server");
        if !program.exists() {
            super::skip("iridium");
            return None;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--user", USER, "--password", PASSWORD])
            .args(["--memory", "--no-tls"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the emulator can be run");
        let server = Self { process, port };
        super::eventually("the emulator listens", 30, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements, each by itself.
    pub fn sql(&self, statements: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut config = Config::new();
            config.host("127.0.0.1");
            config.port(self.port);
            config.database(DATABASE);
            config.encryption(EncryptionLevel::NotSupported);
            config.authentication(AuthMethod::sql_server(USER, PASSWORD));
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .expect("the emulator listens");
            let mut client = Client::connect(config, stream.compat_write())
                .await
                .expect("the emulator lets us in");
            for statement in statements {
                client
                    .simple_query(*statement)
                    .await
                    .unwrap_or_else(|error| panic!("{error}\n{statement}"))
                    .into_results()
                    .await
                    .unwrap_or_else(|error| panic!("{error}\n{statement}"));
            }
        });
    }
}

impl Drop for Iridium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
