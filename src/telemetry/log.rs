//! The log: one subscriber, in one of two forms.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Drivers that would log the values of statements at finer levels, whatever filter the operator sets.
const ALWAYS_QUIET: [&str; 1] = ["tokio_postgres=warn"];

/// Starts writing log lines to standard error. `filter` is in the syntax of `tracing-subscriber`'s `EnvFilter`
/// (`info`, `tidegate=debug`); an unreadable one counts as `info`. A second call changes nothing.
pub fn start(format: LogFormat, filter: &str) {
    let mut filter =
        EnvFilter::try_new(filter).unwrap_or_else(|_unreadable| EnvFilter::new("info"));
    for directive in ALWAYS_QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Pretty => builder.with_target(false).try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "a log subscriber is there already");
    }
}
