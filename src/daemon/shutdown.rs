//! SIGTERM and SIGINT: stop accepting, finish what runs until a deadline, then close.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first signal to stop and says which it was.
pub async fn requested() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
