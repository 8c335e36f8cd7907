//! The current snapshot, swapped in one step, and the account of the last look at the tree.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::Snapshot;

/// How the last look at the tree ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was.
    pub at: DateTime<Utc>,
    /// `applied`, `refused` or `unchanged`.
    pub outcome: &'static str,
    /// The problems, as `/status` shows them.
    pub problems: Vec<serde_json::Value>,
}

/// Publishes snapshots.
pub struct Publisher {
    snapshot: watch::Sender<Arc<Snapshot>>,
    attempt: watch::Sender<Arc<Attempt>>,
}

/// Reads the current snapshot. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    attempt: watch::Receiver<Arc<Attempt>>,
}

impl Publisher {
    /// Starts with a first snapshot.
    pub fn new(snapshot: Arc<Snapshot>, attempt: Attempt) -> (Self, Reader) {
        let (snapshot_sender, snapshot_receiver) = watch::channel(snapshot);
        let (attempt_sender, attempt_receiver) = watch::channel(Arc::new(attempt));
        (
            Self {
                snapshot: snapshot_sender,
                attempt: attempt_sender,
            },
            Reader {
                snapshot: snapshot_receiver,
                attempt: attempt_receiver,
            },
        )
    }

    /// Swaps the snapshot. Requests that run keep theirs.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.send_replace(snapshot);
    }

    /// Notes how a look at the tree ended.
    pub fn attempted(&self, attempt: Attempt) {
        self.attempt.send_replace(Arc::new(attempt));
    }
}

impl Reader {
    /// The current snapshot; a request takes it once and keeps it.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The current snapshot, for [`Reader::replaced`] to wait for the next one.
    pub fn newest(&mut self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow_and_update())
    }

    /// Returns once there is another snapshot than [`Reader::newest`] gave; never, if there will be none.
    pub async fn replaced(&mut self) {
        if self.snapshot.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How the last look at the tree ended.
    pub fn last_attempt(&self) -> Arc<Attempt> {
        Arc::clone(&self.attempt.borrow())
    }
}
