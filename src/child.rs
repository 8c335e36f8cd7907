//! Programs that are started: with the environment of the daemon, but for what systemd told the daemon alone.

use std::ffi::OsStr;
use std::process::Command;

/// What systemd tells the process that it starts and nobody else. A child that had it could speak for the daemon, or take
/// its listening sockets for its own.
const FOR_THE_DAEMON_ALONE: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
];

/// A program to start. Every child of the daemon is made here.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where children are made, without the variables above"
    )]
    let mut command = Command::new(program);
    for name in FOR_THE_DAEMON_ALONE {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_learn_how_to_speak_for_the_daemon() {
        let command = command("true");
        for name in FOR_THE_DAEMON_ALONE {
            assert!(
                command
                    .get_envs()
                    .any(|(removed, value)| removed == name && value.is_none())
            );
        }
    }
}
