//! When to look at the tree again. Knows not what is watched for: a trigger carries no data.

pub mod debounce;
pub mod directory;
pub mod folders;
pub mod interval;
pub mod signal;
mod survey;
mod watches;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch as channel};

/// Longest time that a look is put off because somebody is in the middle of writing into a file.
pub const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// Says "look again". It has one slot: however often it fires while a look is going on, one more look follows.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    asked: Arc<Notify>,
    holds: channel::Sender<usize>,
}

/// Puts looks off until it is dropped, for [`LONGEST_HOLD`] at most.
#[derive(Debug)]
pub struct Hold(channel::Sender<usize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|holds| *holds = holds.saturating_sub(1));
    }
}

impl Trigger {
    /// Asks for a look.
    pub fn fire(&self) {
        self.asked.notify_one();
    }

    /// Says that somebody is in the middle of writing.
    pub fn hold(&self) -> Hold {
        self.holds
            .send_modify(|holds| *holds = holds.saturating_add(1));
        Hold(self.holds.clone())
    }

    /// Waits until a look is asked for, and then until nobody is in the middle of writing, but not for ever. May be
    /// dropped while it waits for the former.
    pub async fn fired(&self) {
        self.asked.notified().await;
        let mut holds = self.holds.subscribe();
        let released = holds.wait_for(|holds| *holds == 0);
        // Either way it is time to look.
        let _ = tokio::time::timeout(LONGEST_HOLD, released).await;
    }

    /// Waits for `time`, and then on while somebody is in the middle of writing. Blocks.
    pub fn pause(&self, time: Duration) {
        let mut waited = Duration::ZERO;
        while waited < time || (*self.holds.borrow() > 0 && waited < LONGEST_HOLD) {
            std::thread::sleep(time);
            waited = waited.saturating_add(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn many_firings_ask_for_one_look() {
        let trigger = Trigger::default();
        for _ in 0..10 {
            trigger.fire();
        }
        assert!(trigger.fired().now_or_never().is_some());
        assert!(trigger.fired().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_look_waits_for_every_writer() {
        let trigger = Trigger::default();
        let (one, other) = (trigger.hold(), trigger.hold());
        trigger.fire();
        let mut fired = std::pin::pin!(trigger.fired());
        assert!(fired.as_mut().now_or_never().is_none());
        drop(one);
        assert!(fired.as_mut().now_or_never().is_none());
        drop(other);
        fired.await;
    }

    #[test]
    fn a_pause_lasts_as_long_as_somebody_writes() {
        let trigger = Trigger::default();
        let step = Duration::from_millis(1);
        trigger.pause(step);
        let hold = trigger.hold();
        let pausing = {
            let trigger = trigger.clone();
            std::thread::spawn(move || trigger.pause(step))
        };
        std::thread::sleep(step * 20);
        assert!(!pausing.is_finished());
        drop(hold);
        pausing.join().unwrap();
    }
}
