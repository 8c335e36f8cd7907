//! SIGHUP asks for a look, and for whatever else there is to be done at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, caught.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Catches it from now on. Must be called within the runtime.
    pub fn catch() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. False when none will come.
    pub async fn came(&mut self) -> bool {
        let came = self.0.recv().await.is_some();
        if came {
            tracing::info!("SIGHUP: looking at the tree");
        }
        came
    }
}
