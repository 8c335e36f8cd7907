//! When to try again after a server could not be reached.

use std::time::{Duration, Instant};

/// Wait after the first failure to connect. Doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait between two attempts to connect.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Lets attempts to connect through, after failures only now and then.
#[derive(Debug, Default)]
pub(super) struct Gate {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Gate {
    /// Whether an attempt may be made now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.closed_until.is_none_or(|until| now >= until)
    }

    /// Notes that an attempt failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = FIRST_BACKOFF
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.closed_until = now.checked_add(wait);
    }

    /// Notes that an attempt succeeded, which forgets all failures.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;

    #[test]
    fn attempts_become_rarer_and_one_success_forgets_all() {
        let mut gate = Gate::default();
        let start = crate::clock::SystemClock.instant();
        assert!(gate.is_open(start));
        let mut waits = Vec::new();
        for _ in 0..40 {
            gate.failed(start);
            waits.push(gate.closed_until.unwrap() - start);
        }
        assert_eq!(waits[0], FIRST_BACKOFF);
        assert_eq!(waits[1], FIRST_BACKOFF * 2);
        assert_eq!(waits[39], LONGEST_BACKOFF);
        assert!(!gate.is_open(start));
        assert!(gate.is_open(start + LONGEST_BACKOFF));
        gate.succeeded();
        assert!(gate.is_open(start));
    }
}
