//! `tidegate serve`: the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Failure;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What belongs to the host and not to the tree.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// The folder of manifests.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "gateway.d",
        env = "TIDEGATE_CONFIG"
    )]
    pub config: PathBuf,
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
    /// Where relative paths of data start (databases, file stores). Default: the folder of manifests.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the last accepted tree is kept.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
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
pub(super) fn run(arguments: ServeArguments) -> Result<u8, Failure> {
    let _ = arguments;
    Err(Failure::new("serving is not part of this build"))
}
