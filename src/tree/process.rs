//! Runs a program of the machine: with a deadline, a clean environment and bounded output. Blocks.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Most bytes that are taken of each output; a program that writes more meets a closed pipe.
pub(super) const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// Where programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Time between two looks whether the program is done.
const STEP: Duration = Duration::from_millis(5);

/// What a program did.
#[derive(Debug)]
pub(super) struct Finished {
    /// Whether it ended with exit code 0.
    pub(super) is_success: bool,
    /// Standard output.
    pub(super) output: String,
    /// Standard error.
    pub(super) errors: String,
}

/// Why there is nothing to say about what a program did.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is not installed.
    Missing,
    /// It did not end in time, and was killed.
    TooSlow,
    /// The machine would not run it.
    Host(std::io::Error),
}

/// Runs a program to its end, or kills it after `patience`. Its environment is empty but for `PATH` and `LC_ALL`; what
/// `command` sets itself stays. Standard input stays as `command` has it.
pub(super) fn run(mut command: Command, patience: Duration) -> Result<Finished, Failure> {
    let own: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut child = command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .envs(own)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::Missing,
            _ => Failure::Host(error),
        })?;
    let output = child.stdout.take().map(collect);
    let errors = child.stderr.take().map(collect);
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if waited < patience => {
                std::thread::sleep(STEP);
                waited = waited.saturating_add(STEP);
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::TooSlow);
            }
            Err(error) => return Err(Failure::Host(error)),
        }
    };
    // Whoever inherited the pipes may hold them open for longer than the program lives.
    let text = |stream: Option<mpsc::Receiver<Vec<u8>>>| {
        let bytes = stream.and_then(|stream| stream.recv_timeout(patience).ok());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    Ok(Finished {
        is_success: status.success(),
        output: text(output),
        errors: text(errors),
    })
}

/// Reads a stream on a thread of its own, so that the program never waits for a reader.
fn collect(stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a broken pipe counts.
        let _ = stream.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    fn shell(script: &str, patience: Duration) -> Result<Finished, Failure> {
        let mut command = child::command("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command.env("OWN", "kept");
        run(command, patience)
    }

    #[test]
    fn a_program_gets_a_clean_environment_and_its_outputs_are_told_apart() {
        let done = shell("env | sort; echo oops >&2; exit 3", Duration::from_secs(30)).unwrap();
        let names: Vec<&str> = done
            .output
            .lines()
            .filter_map(|line| line.split('=').next())
            .filter(|name| !matches!(*name, "PWD" | "_" | "SHLVL"))
            .collect();
        assert_eq!(names, ["LC_ALL", "OWN", "PATH"]);
        assert_eq!((done.is_success, done.errors.as_str()), (false, "oops\n"));
    }

    #[test]
    fn a_program_that_does_not_end_or_writes_without_end_is_stopped() {
        let slow = shell("sleep 60", Duration::from_millis(50));
        assert!(matches!(slow, Err(Failure::TooSlow)), "{slow:?}");
        let loud = shell("yes", Duration::from_mins(1)).unwrap();
        assert_eq!(loud.output.len() as u64, MAX_OUTPUT_BYTES);
        let missing = run(child::command("no-such-program"), Duration::from_secs(1));
        assert!(matches!(missing, Err(Failure::Missing)), "{missing:?}");
    }
}
