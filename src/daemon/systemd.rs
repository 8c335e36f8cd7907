//! What systemd is told: when the daemon is ready, reloads and stops, what it serves, and that it is alive. Every function
//! does nothing where nobody asked to be told.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use sd_notify::NotifyState;
use tokio::sync::watch;

use super::reload::Looks;
use crate::clock::Clock;
use crate::http::Pulse;
use crate::pipeline::operations::Readiness;
use crate::snapshot::publish::{Reader, Served};
use crate::watch::Trigger;
use crate::watch::signal::Hangups;

/// Longest that one message may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two tries while the queue of systemd is full.
const STEP: Duration = Duration::from_millis(20);
/// How often systemd is told that a start or a reload goes on.
const EXTENSION_STEP: Duration = Duration::from_secs(5);
/// For how long each time.
const EXTENSION: Duration = Duration::from_secs(20);
/// Longest that a start or a reload is said to go on; then systemd decides, or gets an answer.
const LONGEST: Duration = Duration::from_mins(5);
/// Most characters of a status line.
const MAX_STATUS_CHARACTERS: usize = 400;

/// Speaks the protocol of `sd_notify(3)`.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Endpoint>>);

#[derive(Debug)]
struct Endpoint {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// Speaks to `$NOTIFY_SOCKET`, a path or an abstract name (`@…`); to nobody where it is not set. One that cannot be
    /// spoken to is logged.
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        match Endpoint::open(&name) {
            Ok(endpoint) => Self(Some(Arc::new(endpoint))),
            Err(error) => {
                tracing::warn!(socket = %name.to_string_lossy(), %error, "NOTIFY_SOCKET cannot be used; systemd is told nothing");
                Self(None)
            }
        }
    }

    /// Sends states in one message. A failure is logged: nobody can do anything about it.
    pub async fn send(&self, states: &[NotifyState<'_>]) {
        let Some(endpoint) = &self.0 else {
            return;
        };
        let mut message = String::new();
        for state in states {
            // Writing to a String cannot fail.
            let _ = writeln!(message, "{state}");
        }
        let sent = async {
            loop {
                match endpoint.send(message.as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(STEP).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "systemd cannot be told"),
            Err(_elapsed) => tracing::warn!("systemd does not take what it is told"),
        }
    }

    /// Waits for `work`, and tells systemd now and then that it goes on, so that a timeout of the unit does not end a
    /// daemon that is only slow. None when it takes longer than anything should.
    pub async fn extending<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let extensions = async {
            loop {
                tokio::time::sleep(EXTENSION_STEP).await;
                self.send(&[NotifyState::ExtendTimeoutUsec(micros(EXTENSION))])
                    .await;
            }
        };
        tokio::select! {
            outcome = tokio::time::timeout(LONGEST, work) => outcome.ok(),
            () = extensions => None,
        }
    }

    /// Tells that the daemon stops, and may take so long.
    pub async fn stopping(&self, longest: Duration) {
        let status = format!(
            "stopping: running requests may finish, for at most {} s",
            longest.as_secs()
        );
        self.send(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(micros(longest + EXTENSION)),
            NotifyState::Status(&status),
        ])
        .await;
    }
}

impl Endpoint {
    fn open(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::other(
                    "it is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket
            .send_to_addr(message, &self.address)
            .map(|_count| ())
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// What `systemctl status` shows: the revision that is served, or what is wrong with the tree.
pub fn status_line(served: &Served) -> String {
    let revision = &served.snapshot.revision;
    let what = match served.snapshot.last_good {
        None => revision.to_string(),
        Some(accepted_at) => format!(
            "the last good tree of {} as {revision}",
            accepted_at.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
    };
    if !served.is_degraded() {
        let services = served.snapshot.services.len();
        let plural = if services == 1 { "" } else { "s" };
        return format!("serving {what}, {services} service{plural}");
    }
    let problems = &served.attempt.problems;
    let is_error = |problem: &&serde_json::Value| {
        problem.get("severity").and_then(serde_json::Value::as_str) == Some("error")
    };
    let others = match problems.iter().filter(is_error).count() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let first = problems
        .iter()
        .find(is_error)
        .map(problem_line)
        .unwrap_or_default();
    let room = MAX_STATUS_CHARACTERS.saturating_sub(what.chars().count() + others.len());
    let cut: String = if first.chars().count() > room {
        first.chars().take(room).chain(['…']).collect()
    } else {
        first
    };
    format!("degraded: serving {what}; {cut}{others}")
}

/// `roles.toml:12:3: unknown key`, on one line: a second one would be another assignment.
fn problem_line(problem: &serde_json::Value) -> String {
    let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str);
    let number = |name: &str| problem.get(name).and_then(serde_json::Value::as_u64);
    let place = match (text("file"), number("line"), number("column")) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        _ => String::new(),
    };
    format!(
        "{place}{}",
        text("message").unwrap_or("the tree is refused")
    )
    .chars()
    .map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    })
    .collect()
}

/// Keeps the status line in step with what is served, for ever.
pub async fn show_status(notifier: Notifier, mut reader: Reader) {
    let mut shown = status_line(&reader.served());
    loop {
        reader.changed().await;
        let line = status_line(&reader.served());
        if line != shown {
            notifier.send(&[NotifyState::Status(&line)]).await;
            shown = line;
        }
    }
}

/// Tells that the daemon is ready, and what it serves.
pub async fn ready(notifier: &Notifier, reader: &Reader) {
    let line = status_line(&reader.served());
    notifier
        .send(&[NotifyState::Ready, NotifyState::Status(&line)])
        .await;
}

/// At every SIGHUP: fires everything that is `asked`, a look at the tree among it, and tells systemd that the daemon reloads
/// until that look has ended, however it ended. A fetch is not waited for; what it brings is another reload.
pub async fn reload_on_hangup(
    notifier: Notifier,
    mut hangups: Hangups,
    asked: Vec<Trigger>,
    mut looks: watch::Receiver<Looks>,
    reader: Reader,
) {
    while hangups.came().await {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notifier.send(&[NotifyState::Reloading, now]).await,
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
        // A look that began before the signal may have missed what the signal is about.
        let wanted = looks.borrow().begun + 1;
        asked.iter().for_each(Trigger::fire);
        let look = async {
            let _ = looks.wait_for(|looks| looks.ended >= wanted).await;
        };
        let ended = notifier.extending(look).await;
        if ended.is_none() {
            tracing::error!(
                minutes = LONGEST.as_secs() / 60,
                "a look at the tree takes too long; what was served is served on"
            );
        }
        ready(&notifier, &reader).await;
    }
}

/// How often the unit asks for a sign of life (`WatchdogSec=`); none where it does not.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// What shows that the daemon is alive: the runtime runs tasks, both listeners accept, and somebody looks at the tree.
///
/// Backends that do not answer, a look that hangs and too many connections do not count: a restart mends none of them.
pub struct Life {
    /// The servers of both listeners.
    pub servers: Vec<Pulse>,
    /// The looks at the tree; their sender goes with whoever looks.
    pub looks: watch::Receiver<Looks>,
    /// Who stops on purpose need not accept.
    pub readiness: Arc<Readiness>,
}

impl Life {
    /// What is dead, after waiting for at most `patience`; none where all is well.
    async fn dead(&self, patience: Duration) -> Option<&'static str> {
        let beats = self.servers.iter().map(|server| server.beats(patience));
        let accept = futures_util::future::join_all(beats).await;
        if !self.readiness.is_ready() {
            None
        } else if accept.contains(&false) {
            Some("a listener does not accept")
        } else if self.looks.has_changed().is_err() {
            Some("nobody looks at the tree")
        } else {
            None
        }
    }
}

/// Tells systemd that the daemon is alive, twice in each `period`, for ever.
pub async fn feed_watchdog(
    notifier: Notifier,
    period: Duration,
    life: Life,
    clock: Arc<dyn Clock>,
) {
    let half = period / 2;
    loop {
        let begun = clock.instant();
        match life.dead(half / 2).await {
            None => notifier.send(&[NotifyState::Watchdog]).await,
            Some(why) => tracing::error!(why, "the daemon is not well; systemd will start it anew"),
        }
        let passed = clock.instant().saturating_duration_since(begun);
        tokio::time::sleep(half.saturating_sub(passed)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key::KeyRing;
    use crate::http::{Listener, Server};
    use crate::pipeline::Gateway;
    use crate::snapshot::publish::{Attempt, Publisher};
    use crate::snapshot::{Revision, Settings, Snapshot};
    use chrono::DateTime;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn served(problems: Vec<Value>, last_good: bool) -> (Publisher, Reader) {
        let outcome = if problems.is_empty() {
            "applied"
        } else {
            "refused"
        };
        let digest = "ab".repeat(32);
        let snapshot = Snapshot {
            revision: Revision::new(3, digest, None, None, DateTime::UNIX_EPOCH),
            last_good: last_good.then_some(DateTime::UNIX_EPOCH),
            services: BTreeMap::new(),
            applications: KeyRing::new([]),
            settings: Settings::default(),
            documents: crate::snapshot::documents::Documents::default(),
        };
        let attempt = Attempt {
            at: DateTime::UNIX_EPOCH,
            outcome,
            problems,
        };
        Publisher::new(Arc::new(snapshot), attempt)
    }

    fn line(problems: &[Value], last_good: bool) -> String {
        status_line(&served(problems.to_vec(), last_good).1.served())
    }

    fn problem(severity: &str, message: &str) -> Value {
        json!({"severity": severity, "file": "roles.toml", "line": 12, "column": 3, "message": message})
    }

    #[test]
    fn the_status_line_names_the_revision_or_the_first_error() {
        assert_eq!(line(&[], false), "serving g3-abababababab, 0 services");
        let error = problem("error", "unknown key `verb`");
        assert_eq!(
            line(&[problem("warning", "odd"), error.clone()], false),
            "degraded: serving g3-abababababab; roles.toml:12:3: unknown key `verb`"
        );
        let nowhere = json!({"severity": "error", "file": null, "message": "the tree is empty"});
        assert_eq!(
            line(&[nowhere, error.clone(), error], true),
            "degraded: serving the last good tree of 1970-01-01T00:00:00Z as g3-abababababab; \
             the tree is empty (and 2 more)"
        );
    }

    #[test]
    fn a_status_line_is_one_line_of_bounded_length() {
        let long = problem("error", &"x\nREADY=1 ü".repeat(1_000));
        let line = line(&[long.clone(), long], true);
        assert!(!line.contains('\n'), "{line}");
        assert!(line.chars().count() < MAX_STATUS_CHARACTERS + 100, "{line}");
        assert!(line.ends_with("… (and 1 more)"), "{line}");
    }

    #[tokio::test]
    async fn a_daemon_whose_parts_are_dead_is_not_alive() {
        let clock = crate::clock::system();
        let readiness = Arc::new(Readiness::default());
        let (_publisher, reader) = served(Vec::new(), false);
        let gateway = Arc::new(Gateway::new(reader, clock, Arc::default()));
        let server = Server::api(gateway, Arc::clone(&readiness));
        let (looker, looks) = watch::channel(Looks::default());
        let life = Life {
            servers: vec![server.pulse()],
            looks,
            readiness: Arc::clone(&readiness),
        };
        let patience = Duration::from_millis(50);
        assert_eq!(
            life.dead(patience).await,
            Some("a listener does not accept"),
            "it does not run yet"
        );
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (_stop, stopped) = watch::channel(false);
        let running = tokio::spawn(server.run(listener, stopped, Duration::ZERO));
        let long = Duration::from_secs(30);
        assert_eq!(life.dead(long).await, None);
        drop(looker);
        assert_eq!(life.dead(long).await, Some("nobody looks at the tree"));
        running.abort();
        let _ = running.await;
        assert_eq!(life.dead(long).await, Some("a listener does not accept"));
        readiness.drain();
        assert_eq!(life.dead(long).await, None, "it stops on purpose");
    }
}
