//! A look every so often, whatever the file system says. inotify is only a hint; this is the promise.

use std::time::Duration;

use super::Trigger;

/// Fires for ever.
pub async fn run(trigger: Trigger, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        trigger.fire();
    }
}
