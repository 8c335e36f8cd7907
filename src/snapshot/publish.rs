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

/// What is served, and how the last look ended: always read together, so that no answer mixes the two.
#[derive(Clone)]
pub struct Served {
    /// The current snapshot.
    pub snapshot: Arc<Snapshot>,
    /// How the last look at the tree ended.
    pub attempt: Arc<Attempt>,
}

impl Served {
    /// Whether the tree as it is now has problems, so that an older revision or the last good tree is served.
    pub fn is_degraded(&self) -> bool {
        self.attempt.outcome == "refused"
    }
}

/// Publishes snapshots.
pub struct Publisher(watch::Sender<Served>);

/// Reads the current snapshot. Cheap to clone.
#[derive(Clone)]
pub struct Reader(watch::Receiver<Served>);

impl Publisher {
    /// Starts with a first snapshot.
    pub fn new(snapshot: Arc<Snapshot>, attempt: Attempt) -> (Self, Reader) {
        let (sender, receiver) = watch::channel(Served {
            snapshot,
            attempt: Arc::new(attempt),
        });
        (Self(sender), Reader(receiver))
    }

    /// Swaps the snapshot. Requests that run keep theirs.
    pub fn publish(&self, snapshot: Arc<Snapshot>, attempt: Attempt) {
        self.0.send_replace(Served {
            snapshot,
            attempt: Arc::new(attempt),
        });
    }

    /// Notes how a look at the tree ended that changed nothing.
    pub fn attempted(&self, attempt: Attempt) {
        self.0
            .send_modify(|served| served.attempt = Arc::new(attempt));
    }
}

impl Reader {
    /// The current snapshot; a request takes it once and keeps it.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow().snapshot)
    }

    /// How the last look at the tree ended.
    pub fn last_attempt(&self) -> Arc<Attempt> {
        Arc::clone(&self.0.borrow().attempt)
    }

    /// Both at one moment.
    pub fn served(&self) -> Served {
        self.0.borrow().clone()
    }

    /// Returns once another generation than this one is served; never, if there will be none.
    pub async fn replaced(&mut self, generation: u64) {
        let replaced = self
            .0
            .wait_for(|served| served.snapshot.revision.generation != generation);
        if replaced.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns after every snapshot and every look; never, if there will be none.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
