//! Asks the backends now and then whether they answer. Health only: no revision waits for it.

use std::time::Duration;

use crate::snapshot::publish::Reader;
use crate::telemetry::metrics::Metrics;

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(15);
/// Longest wait for one backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// Probes every active service of the current snapshot, for ever.
pub async fn run(reader: Reader, metrics: std::sync::Arc<Metrics>) {
    loop {
        let snapshot = reader.current();
        let probes = snapshot
            .services
            .values()
            .filter(|service| service.is_active)
            .map(|service| async {
                let is_up = matches!(
                    tokio::time::timeout(PATIENCE, service.connector.probe()).await,
                    Ok(Ok(()))
                );
                if service.health.note(is_up) {
                    if is_up {
                        tracing::info!(service.name = service.name.as_str(), "the backend answers");
                    } else {
                        tracing::warn!(
                            service.name = service.name.as_str(),
                            "the backend does not answer"
                        );
                    }
                }
                metrics.service_is_up(service.name.as_str(), is_up);
            });
        futures_util::future::join_all(probes).await;
        drop(snapshot);
        tokio::time::sleep(PERIOD).await;
    }
}
