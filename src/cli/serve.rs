//! `tidegate serve`: the daemon.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::sources::{SecretArguments, SourceArguments};
use super::{Failure, GOOD, PROBLEMS, duration};
use crate::daemon;
use crate::daemon::fetch::{Rhythm, followed};
use crate::telemetry::log::{self, LogFormat};
use crate::tree::{Source, Sources};

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
    /// Lets git fetch the commits that are served, this often and on SIGHUP: 30s, 5m, 1h. Needs a source such as
    /// `git:/srv/config.git#main`.
    #[arg(
        long,
        value_name = "INTERVAL",
        value_parser = duration::parse,
        env = "TIDEGATE_GIT_FETCH"
    )]
    pub git_fetch: Option<Duration>,
    /// Longest that one fetch may take.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1m",
        value_parser = duration::parse,
        env = "TIDEGATE_GIT_FETCH_TIMEOUT"
    )]
    pub git_fetch_timeout: Duration,
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
    /// Folder where the last good tree is kept, for a start on a broken one. Default: the state directory that systemd
    /// gives; otherwise none is kept.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to do at a start on a tree that cannot be served.
    #[arg(long, value_enum, default_value_t, env = "TIDEGATE_ON_BAD_START")]
    pub on_bad_start: OnBadStart,
    /// Seconds between SIGTERM, which turns /readyz to 503, and accepting no more: time for a load balancer to look.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=3_600),
        env = "TIDEGATE_DRAIN_DELAY_SECONDS"
    )]
    pub drain_delay_seconds: u32,
    /// Seconds that running requests may take to finish, once nothing is accepted any more; then they are cut.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(0..=3_600),
        env = "TIDEGATE_DRAIN_SECONDS"
    )]
    pub drain_seconds: u32,
}

/// What to do at a start on a tree that cannot be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnBadStart {
    /// End with exit code 1.
    Fail,
    /// Serve the last good tree, if one is kept.
    #[default]
    LastGood,
}

impl ServeArguments {
    /// The first folder of `$STATE_DIRECTORY` where nothing else is said.
    fn state_directory(&self) -> Option<PathBuf> {
        self.state_dir.clone().or_else(|| {
            let folders = std::env::var_os("STATE_DIRECTORY")?;
            let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
            (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
        })
    }
}

/// How often to fetch. Exit code 2 where there is nothing that a fetch could move.
fn rhythm(arguments: &ServeArguments, sources: &Sources) -> Result<Option<Rhythm>, Failure> {
    let Some(interval) = arguments.git_fetch else {
        return Ok(None);
    };
    if followed(sources).is_empty() {
        return Err(Failure::usage(
            "--git-fetch is given, and no source follows a branch or a tag of a repository",
        )
        .with_help("name one: --config git:/srv/config.git#main:gateway.d"));
    }
    Ok(Some(Rhythm {
        interval,
        timeout: arguments.git_fetch_timeout,
    }))
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
    let sources = arguments.source.sources()?;
    let settings = daemon::Settings {
        fetch: rhythm(arguments, &sources)?,
        sources,
        secrets: arguments.secret.machine(),
        data_directory: arguments.source.data_directory()?,
        listen: arguments.listen,
        ops_listen: arguments.ops_listen,
        poll: Duration::from_secs(arguments.poll_seconds.into()),
        workers: arguments.workers.map(usize::from),
        state_directory: arguments.state_directory(),
        on_bad_start: match arguments.on_bad_start {
            OnBadStart::Fail => daemon::reload::OnBadStart::Fail,
            OnBadStart::LastGood => daemon::reload::OnBadStart::LastGood,
        },
        drain_delay: Duration::from_secs(arguments.drain_delay_seconds.into()),
        drain: Duration::from_secs(arguments.drain_seconds.into()),
    };
    let is_kept = |source: &Source| matches!(source, Source::State(_));
    if settings.sources.list().iter().any(is_kept) {
        return Err(Failure::usage(
            "`state:` is what a daemon accepted last, and not a source to serve",
        )
        .with_help(
            "name the sources themselves; --on-bad-start last-good serves it where it is needed",
        ));
    }
    match daemon::run(settings) {
        Ok(()) => Ok(GOOD),
        Err(daemon::Failure::Host(message)) => Err(Failure::new(message)),
        Err(daemon::Failure::Tree(problems)) => {
            let mut errors = anstream::AutoStream::auto(std::io::stderr().lock());
            write!(errors, "{}", problems.render(true))?;
            Ok(PROBLEMS)
        }
        Err(daemon::Failure::BothTrees { tree, last_good }) => {
            let mut errors = anstream::AutoStream::auto(std::io::stderr().lock());
            write!(errors, "{}", tree.render(true))?;
            writeln!(
                errors,
                "\nand the last good tree cannot be served either:\n"
            )?;
            write!(errors, "{}", last_good.render(true))?;
            Ok(PROBLEMS)
        }
    }
}
