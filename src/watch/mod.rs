//! When to look at the tree again. Knows not what is watched for: a trigger carries no data.

pub mod debounce;
pub mod directory;
pub mod folders;
pub mod interval;
pub mod signal;

use std::sync::Arc;

use tokio::sync::Notify;

/// Says "look again". It has one slot: however often it fires while a look is going on, one more look follows.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Notify>);

impl Trigger {
    /// Asks for a look.
    pub fn fire(&self) {
        self.0.notify_one();
    }

    /// Waits until a look is asked for.
    pub async fn fired(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn many_firings_ask_for_one_look() {
        let trigger = Trigger::default();
        for _ in 0..10 {
            trigger.fire();
        }
        assert!(trigger.fired().now_or_never().is_some());
        assert!(trigger.fired().now_or_never().is_none());
    }
}
