//! SIGHUP asks for a look, and for whatever else there is to be done at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Trigger;

/// SIGHUP, caught.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Catches it from now on. Must be called within the runtime.
    pub fn catch() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Fires all of them at every one, for ever.
    pub async fn run(mut self, triggers: Vec<Trigger>) {
        while self.0.recv().await.is_some() {
            tracing::info!("SIGHUP: looking at the tree");
            triggers.iter().for_each(Trigger::fire);
        }
    }
}
