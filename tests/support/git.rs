//! Repositories made by the real git, and what remotes of them are reached through.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A folder for repositories, databases and whatever else a test needs.
pub struct Workshop {
    root: tempfile::TempDir,
}

/// One repository.
#[derive(Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

impl Workshop {
    /// An empty one.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("tidegate-test-")
            .tempdir()
            .unwrap();
        std::fs::create_dir(root.path().join("data")).unwrap();
        Self { root }
    }

    /// A place in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The folder for databases.
    pub fn data(&self) -> PathBuf {
        self.at("data")
    }

    /// A new repository with a work tree on the branch `main`.
    pub fn work(&self, name: &str) -> Repository {
        self.repository(name, &["init", "-q", "-b", "main", name])
    }

    /// A new bare repository.
    pub fn bare(&self, name: &str) -> Repository {
        self.repository(name, &["init", "-q", "--bare", "-b", "main", name])
    }

    /// A clone.
    pub fn clone_of(&self, url: &str, name: &str, options: &[&str]) -> Repository {
        self.repository(name, &[&["clone", "-q"], options, &[url, name]].concat())
    }

    fn repository(&self, name: &str, arguments: &[&str]) -> Repository {
        git(self.root.path(), arguments);
        Repository {
            path: self.at(name),
        }
    }
}

impl Repository {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its address as a remote on the same machine.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// It as `--config` has it: `git:PATH#main:gateway.d`.
    pub fn source(&self, rest: &str) -> PathBuf {
        PathBuf::from(format!("git:{}#{rest}", self.path.display()))
    }

    /// Runs git in it and gives what it printed.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments)
    }

    /// Writes a file of the work tree.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything that is in the work tree and names the commit.
    pub fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "a commit"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits everything, pushes it to a repository as `main`, and names the commit.
    pub fn push(&self, to: &Self) -> String {
        let commit = self.commit();
        let url = to.url();
        self.git(&["push", "-q", "--force", &url, "HEAD:refs/heads/main"]);
        commit
    }
}

/// Runs git with no settings but those of the repository.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(["-c", "commit.gpgsign=false", "-c", "gc.autoDetach=false"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git is installed (tests/run installs it)");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "git {arguments:?}: {error}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// What a server does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Gives the files of a folder, as the "dumb" protocol of git needs them.
    Serves,
    /// Wants other credentials.
    Refuses,
    /// Says nothing, for as long as the caller likes to wait.
    Hangs,
}

/// A web server for the files of a folder, on a port of its own.
pub struct FileServer {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    /// The heads of the requests that came.
    requests: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    /// Starts one; it ends with the test.
    pub fn start(folder: PathBuf, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
        };
        let (behaviour, requests) = (Arc::clone(&server.behaviour), Arc::clone(&server.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, requests) = (folder.clone(), Arc::clone(&requests));
                let behaviour = *behaviour.lock().unwrap();
                std::thread::spawn(move || answer(stream, &folder, behaviour, &requests));
            }
        });
        server
    }

    /// The address of a file or folder, with a user and a password in it.
    pub fn url(&self, name: &str) -> String {
        format!("http://robot:s3cret-pass@{}/{name}", self.address)
    }

    /// Another behaviour from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// The heads of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(
    stream: TcpStream,
    folder: &Path,
    behaviour: Behaviour,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    requests.lock().unwrap().push(head.clone());
    let stream = reader.get_mut();
    let respond = |stream: &mut TcpStream, status: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\
            WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
    };
    match behaviour {
        Behaviour::Hangs => {
            let _ = stream.read(&mut [0]);
        }
        Behaviour::Refuses => respond(stream, "401 Unauthorized", b""),
        Behaviour::Serves => {
            let target = head.split(' ').nth(1)?.split('?').next()?;
            match std::fs::read(folder.join(target.trim_start_matches('/'))) {
                Ok(body) => respond(stream, "200 OK", &body),
                Err(_) => respond(stream, "404 Not Found", b""),
            }
        }
    }
    Some(())
}

/// How to reach this machine over SSH: a server of its own for every connection, with keys of its own.
pub struct SecureShell {
    command: String,
}

impl SecureShell {
    /// Makes keys and settings below a folder.
    pub fn new(folder: &Path) -> Self {
        let server = "/usr/sbin/sshd";
        assert!(
            Path::new(server).exists(),
            "openssh-server is not installed (tests/run installs it)"
        );
        std::fs::create_dir(folder).unwrap();
        // The server insists on this folder when it is started by root.
        let _ = std::fs::create_dir("/run/sshd");
        let at = |name: &str| folder.join(name).display().to_string();
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(name)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        std::fs::copy(at("user.pub"), at("authorized_keys")).unwrap();
        let host_key = std::fs::read_to_string(at("host.pub")).unwrap();
        std::fs::write(at("known_hosts"), format!("tidegate-test {host_key}")).unwrap();
        let settings = [
            format!("HostKey {}", at("host")),
            format!("AuthorizedKeysFile {}", at("authorized_keys")),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PermitRootLogin yes".to_owned(),
            "PidFile none".to_owned(),
        ];
        std::fs::write(at("sshd_config"), settings.join("\n") + "\n").unwrap();
        let proxy = format!("{server} -i -f {}", at("sshd_config"));
        Self {
            command: format!(
                "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o ProxyCommand='{proxy}'",
                at("user"),
                at("known_hosts")
            ),
        }
    }

    /// What `core.sshCommand` of a repository has to be.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The address of a repository of this machine.
    pub fn url(repository: &Repository) -> String {
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap();
        format!(
            "ssh://{}@tidegate-test{}",
            user.trim(),
            repository.path().display()
        )
    }
}
