//! Asks the backends now and then whether they answer. Health only: no revision waits for it.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::snapshot::publish::Reader;

/// Time between two rounds; a new revision begins one at once.
const PERIOD: Duration = Duration::from_secs(15);
/// Longest wait for one backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// Probes every active service of the current snapshot, for ever.
pub async fn run(mut reader: Reader) {
    loop {
        let snapshot = reader.current();
        let probes = snapshot
            .services
            .values()
            .filter(|service| service.is_active)
            .map(|service| async {
                let outcome = tokio::time::timeout(PATIENCE, service.connector.probe()).await;
                let outcome = outcome.unwrap_or_else(|_elapsed| {
                    Err(Error::new(
                        ErrorKind::BackendTimeout,
                        "the service did not answer in time",
                    ))
                });
                service.note_health(outcome.as_ref().map(|&()| ()));
            });
        futures_util::future::join_all(probes).await;
        let generation = snapshot.revision.generation;
        drop(snapshot);
        // Either way it is time for another round.
        let _ = tokio::time::timeout(PERIOD, reader.replaced(generation)).await;
    }
}
