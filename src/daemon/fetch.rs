//! Fetches what the commits come from, now and then and after SIGHUP. It only moves references: what they name is read by
//! the reloader, and no reload waits for a remote.

mod command;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::pipeline::operations::{Fetch, Readiness};
use crate::telemetry::metrics::Metrics;
use crate::tree::git::{Location, following};
use crate::tree::{Source, Sources};
use crate::watch::Trigger;

/// Longest time between two fetches from a remote that does not answer, unless the interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// How much of a pause chance may add, so that a fleet does not knock all at once.
const JITTER: f64 = 0.1;
/// Most times that a pause is doubled.
const MAX_DOUBLINGS: u32 = 16;

/// How often to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Time between two fetches.
    pub interval: Duration,
    /// Longest that one may take.
    pub timeout: Duration,
}

/// The sources that a fetch can move: every one that follows a branch or a tag, once.
pub fn followed(sources: &Sources) -> Vec<Location> {
    let mut known = BTreeSet::new();
    sources
        .list()
        .iter()
        .filter_map(|source| match source {
            Source::Git(location) if !location.is_pinned() => Some(location),
            Source::Git(_) | Source::Directory(_) | Source::State(_) => None,
        })
        .filter(|location| known.insert((location.repository(), location.base())))
        .cloned()
        .collect()
}

/// What a fetcher tells of its work, and whom.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Readiness>,
    /// Fired after a fetch, for what it brought.
    pub(super) trigger: Trigger,
}

/// One for every source that a fetch can move; none without a rhythm.
pub(super) fn fetchers(sources: &Sources, rhythm: Option<Rhythm>, around: &Around) -> Vec<Fetcher> {
    let Some(rhythm) = rhythm else {
        return Vec::new();
    };
    followed(sources)
        .into_iter()
        .map(|location| Fetcher {
            location,
            rhythm,
            around: around.clone(),
            asked: Trigger::default(),
        })
        .collect()
}

/// Fetches for one source.
pub(super) struct Fetcher {
    location: Location,
    rhythm: Rhythm,
    around: Around,
    asked: Trigger,
}

impl Fetcher {
    /// Asks for a fetch at once.
    pub(super) fn asked(&self) -> Trigger {
        self.asked.clone()
    }

    /// Fetches at once and then for ever. Dropped in the middle of a fetch, it ends git.
    pub(super) async fn run(self) {
        let mut failures: u32 = 0;
        loop {
            let outcome = fetch(&self.location, self.rhythm.timeout).await;
            match &outcome {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(source = %self.location, "fetching works again");
                    }
                    failures = 0;
                    self.around.trigger.fire();
                }
                Err(message) => {
                    if failures == 0 {
                        tracing::warn!(
                            source = %self.location,
                            message,
                            "nothing can be fetched; what is there is served"
                        );
                    }
                    failures = failures.saturating_add(1);
                }
            }
            let now = self.around.clock.now();
            self.around
                .metrics
                .fetched(outcome.is_ok(), now.timestamp());
            let fetch = Fetch {
                at: now,
                problem: outcome.err(),
            };
            self.around
                .readiness
                .fetched(&self.location.to_string(), fetch);
            let pause = pause(self.rhythm.interval, failures, chance());
            // Either way it is time for another one.
            let _ = tokio::time::timeout(pause, self.asked.fired()).await;
        }
    }
}

/// Lets git fetch what a location follows. Says in a few words why that failed; no password is among them.
async fn fetch(location: &Location, timeout: Duration) -> Result<(), String> {
    let location = location.clone();
    let following = tokio::task::spawn_blocking(move || following(&location))
        .await
        .map_err(|error| format!("looking for the remote broke off: {error}"))?
        .map_err(|error| match &error.help {
            Some(help) => format!("{}: {help}", error.message),
            None => error.message,
        })?;
    command::fetch(&following, timeout).await
}

/// How long to wait after so many failures in a row. `chance` is between 0 and 1.
fn pause(interval: Duration, failures: u32, chance: f64) -> Duration {
    let longest = LONGEST_PAUSE.max(interval);
    let doubled = interval.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
    doubled.min(longest).mul_f64(1.0 + JITTER * chance)
}

/// A number between 0 and 1.
fn chance() -> f64 {
    let number = getrandom::u32().unwrap_or_default();
    f64::from(number) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let seconds = Duration::from_secs;
        for (interval, failures, expected) in [
            (30, 0, 30),
            (30, 1, 60),
            (30, 3, 240),
            (30, 5, 600),
            (30, u32::MAX, 600),
            (3600, 0, 3600),
            (3600, 9, 3600),
        ] {
            let found = pause(seconds(interval), failures, 0.0);
            assert_eq!(found, seconds(expected), "{interval} {failures}");
        }
        let most = pause(seconds(30), 0, 1.0);
        assert!(most > seconds(30) && most <= seconds(33), "{most:?}");
    }

    #[test]
    fn only_what_moves_is_fetched_and_only_once() {
        let sources: Vec<Source> = [
            "gateway.d",
            "git:/srv/a#main:base",
            "git:/srv/a#main:prod",
            "git:/srv/a#main~1",
            "git:/srv/a#other",
            "git:/srv/b#main",
            "git:/srv/b#0123456789abcdef0123456789abcdef01234567",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let followed: Vec<String> = followed(&Sources::new(sources))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            followed,
            [
                "git:/srv/a#main:base",
                "git:/srv/a#other",
                "git:/srv/b#main"
            ]
        );
    }
}
