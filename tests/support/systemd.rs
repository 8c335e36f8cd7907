//! The end of systemd in the protocol of `sd_notify(3)`: a socket that hears what the daemon says.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::time::Duration;

use super::eventually;

/// One message: its assignments, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Vec<(String, String)>);

impl Message {
    /// The value of an assignment.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it has this assignment.
    pub fn says(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }
}

/// What `$NOTIFY_SOCKET` names.
pub struct NotifySocket {
    socket: UnixDatagram,
    /// The value of the variable.
    pub name: String,
    heard: Mutex<Vec<Message>>,
    _folder: tempfile::TempDir,
}

impl NotifySocket {
    /// A socket in the file system.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::of(socket, path.to_str().unwrap().to_owned(), folder)
    }

    /// A socket with an abstract name.
    pub fn with_abstract_name() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap().to_owned();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::of(socket, format!("@{name}"), folder)
    }

    fn of(socket: UnixDatagram, name: String, folder: tempfile::TempDir) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        Self {
            socket,
            name,
            heard: Mutex::default(),
            _folder: folder,
        }
    }

    /// Everything that was heard so far.
    pub fn heard(&self) -> Vec<Message> {
        let mut heard = self.heard.lock().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..count].to_vec()).expect("messages are UTF-8");
            let assignments = text
                .lines()
                .map(|line| {
                    let (name, value) = line.split_once('=').expect("an assignment");
                    (name.to_owned(), value.to_owned())
                })
                .collect();
            heard.push(Message(assignments));
        }
        heard.clone()
    }

    /// Waits for a message after the first `skip` ones, and gives its number and itself.
    pub fn wait_for(
        &self,
        what: &str,
        skip: usize,
        is_wanted: impl Fn(&Message) -> bool,
    ) -> (usize, Message) {
        eventually(what, 30, || {
            self.heard()
                .into_iter()
                .enumerate()
                .skip(skip)
                .find(|(_, message)| is_wanted(message))
        })
    }
}
