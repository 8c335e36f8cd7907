//! SIGHUP asks for a look.

use tokio::signal::unix::{SignalKind, signal};

use super::Trigger;

/// Fires at every SIGHUP, for ever. Errors when the signal cannot be caught.
pub async fn run(trigger: Trigger) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: looking at the tree");
        trigger.fire();
    }
    Ok(())
}
