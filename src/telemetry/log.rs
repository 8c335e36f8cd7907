//! The log: one subscriber, in one of two forms.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
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

/// The levels, for the errors of a filter.
const LEVELS: &str = "error, warn, info, debug, trace and off";

/// Drivers that would log the values of statements, whatever filter the operator sets: one at finer levels, one with the
/// words of the server, which the gateway logs with its own errors.
const ALWAYS_QUIET: [&str; 2] = ["tokio_postgres=warn", "tiberius=off"];

/// Reads a filter of log lines: levels and `target=level`, separated by commas.
///
/// Errors: what cannot be read. So is a word alone that is no level: it would be a target, and a misspelt level would
/// silence the log.
pub fn filter(text: &str) -> Result<String, String> {
    let is_lost = |directive: &&str| {
        !directive.is_empty()
            && !directive.contains(['=', '['])
            && directive.parse::<LevelFilter>().is_err()
    };
    if let Some(word) = text.split(',').map(str::trim).find(is_lost) {
        return Err(format!("`{word}` is no level; there are {LEVELS}"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("write target=level; the levels are {LEVELS}")),
    }
}

/// Starts writing log lines to standard error. `filter` is one that [`filter`] has read; another one counts as `info`.
/// A second call changes nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_levels_and_targets_with_levels() {
        for text in [
            "info",
            "WARN",
            "off",
            "tidegate=debug",
            "warn,tidegate::daemon=trace",
        ] {
            assert_eq!(filter(text).as_deref(), Ok(text));
        }
        for text in [
            "loud",
            "inof",
            "info,tidegate",
            "info, tidegate=debug",
            "tidegate=loud",
        ] {
            let refused = filter(text).unwrap_err();
            assert!(refused.contains("error, warn, info"), "{refused}");
        }
    }
}
