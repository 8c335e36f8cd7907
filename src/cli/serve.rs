//! `tidegate serve`: the daemon.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::sources::{SecretArguments, SourceArguments};
use super::{Failure, GOOD, PROBLEMS};
use crate::daemon;
use crate::telemetry::log::{self, LogFormat};

/// What belongs to the host and not to the tree.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// Where the manifests and the data are.
    #[command(flatten)]
    pub source: SourceArguments,
    /// What opens the secrets of the tree.
    #[command(flatten)]
    pub secret: SecretArguments,
    /// Address and port of the API.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "TIDEGATE_LISTEN"
    )]
    pub listen: SocketAddr,
    /// Address and port of health, metrics and status; keep it private.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090",
        env = "TIDEGATE_OPS_LISTEN"
    )]
    pub ops_listen: SocketAddr,
    /// Seconds between two looks at the folder, whatever the file system tells.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        env = "TIDEGATE_POLL_SECONDS"
    )]
    pub poll_seconds: u32,
    /// How log lines look. Default: pretty on a terminal, else json.
    #[arg(long, value_enum, env = "TIDEGATE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Which log lines are written: error, warn, info, debug, or a filter such as tidegate=debug. At info every
    /// request has a line.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        value_parser = log::filter,
        env = "TIDEGATE_LOG"
    )]
    pub log: String,
    /// Threads that serve requests. Default: one for each processor.
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..=1024),
        env = "TIDEGATE_WORKERS"
    )]
    pub workers: Option<u16>,
}

/// Serves until a signal ends it.
pub(super) fn run(arguments: &ServeArguments) -> Result<u8, Failure> {
    let format = arguments.log_format.unwrap_or_else(|| {
        if std::io::stderr().is_terminal() {
            LogFormat::Pretty
        } else {
            LogFormat::Json
        }
    });
    log::start(format, &arguments.log);
    let settings = daemon::Settings {
        sources: arguments.source.sources()?,
        secrets: arguments.secret.machine(),
        data_directory: arguments.source.data_directory()?,
        listen: arguments.listen,
        ops_listen: arguments.ops_listen,
        poll: Duration::from_secs(arguments.poll_seconds.into()),
        workers: arguments.workers.map(usize::from),
    };
    match daemon::run(settings) {
        Ok(()) => Ok(GOOD),
        Err(daemon::Failure::Host(message)) => Err(Failure::new(message)),
        Err(daemon::Failure::Tree(problems)) => {
            let mut errors = anstream::AutoStream::auto(std::io::stderr().lock());
            write!(errors, "{}", problems.render(true))?;
            Ok(PROBLEMS)
        }
    }
}
