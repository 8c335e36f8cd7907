//! Event instants → when to look: after a quiet time, but never later than a longest wait. Pure.

use std::time::{Duration, Instant};

/// Gathers a burst of events into one look.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    quiet: Duration,
    longest: Duration,
    burst: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Looks `quiet` after the last event of a burst, or `longest` after its first one.
    pub fn new(quiet: Duration, longest: Duration) -> Self {
        Self {
            quiet,
            longest,
            burst: None,
        }
    }

    /// An event came.
    pub fn event(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |(first, _)| first);
        self.burst = Some((first, now));
    }

    /// When to look, if an event came since the last look.
    pub fn due(&self) -> Option<Instant> {
        self.burst
            .map(|(first, last)| (last + self.quiet).min(first + self.longest))
    }

    /// The look was taken.
    pub fn reset(&mut self) {
        self.burst = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const QUIET: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_millis(500);

    #[test]
    fn a_burst_is_one_look_after_its_last_event() {
        let start = SystemClock.instant();
        let mut debounce = Debounce::new(QUIET, LONGEST);
        assert_eq!(debounce.due(), None);
        debounce.event(start);
        debounce.event(start + Duration::from_millis(50));
        assert_eq!(debounce.due(), Some(start + Duration::from_millis(150)));
        debounce.reset();
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_storm_does_not_put_the_look_off_for_ever() {
        let start = SystemClock.instant();
        let mut debounce = Debounce::new(QUIET, LONGEST);
        for number in 0..100 {
            debounce.event(start + Duration::from_millis(number * 50));
        }
        assert_eq!(debounce.due(), Some(start + LONGEST));
    }
}
