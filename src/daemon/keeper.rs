//! Keeps the tree that is served on disk, for a start on a broken one. Beside the path of requests and of reloads: a disk
//! that is full or slow is reported, and holds nothing up.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::pipeline::operations::{LastGood, Readiness};
use crate::telemetry::metrics::Metrics;
use crate::tree::store::{Kept, Store};
use crate::tree::{Digest, Sources, TreeError};

/// Time until a tree that could not be kept is tried again.
const RETRY: Duration = Duration::from_mins(1);
/// Time after which a write that goes on is reported.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps the newest tree.
pub struct Keeper {
    /// None: nothing is kept.
    store: Option<Store>,
    sources: String,
    /// Whether only signed commits count.
    are_signed: bool,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Default)]
struct State {
    /// What is to be kept next. One slot: a newer tree takes the place of one that is not written yet.
    next: Option<Arc<Kept>>,
    /// The identity of what is on disk; none where that is not known, as while something is being written.
    on_disk: Option<Digest>,
    /// Why the last try failed, so that it is reported once.
    problem: Option<String>,
}

impl Keeper {
    /// Keeps trees of `sources` below a state directory, or none where there is none.
    pub fn new(
        directory: Option<PathBuf>,
        sources: &Sources,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self {
            store: directory.map(Store::new),
            sources: absolute(sources),
            are_signed: sources.are_signed(),
            metrics,
            readiness,
            state: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// The sources, as they are kept with a tree.
    pub fn sources(&self) -> &str {
        &self.sources
    }

    /// What is kept of the time before; none where nothing is.
    ///
    /// Fails when it cannot be read or is not whole, when it was read from other sources than those of this daemon, and
    /// when only signed commits count and it was accepted while nobody asked who signed it.
    pub async fn read(&self) -> Result<Option<Kept>, TreeError> {
        let Some(store) = self.store.clone() else {
            tracing::info!(
                "no last good tree is kept: a start on a broken tree ends at once; --state-dir names a place for one"
            );
            return Ok(None);
        };
        let directory = store.directory().display().to_string();
        let task = tokio::task::spawn_blocking(move || store.read());
        let read = task.await.unwrap_or_else(|error| {
            Err(TreeError {
                path: directory.clone(),
                message: format!("reading the last good tree broke off: {error}"),
                help: None,
            })
        });
        let read = match read {
            Ok(Some(kept)) if kept.sources != self.sources => Err(TreeError {
                path: directory.clone(),
                message: format!(
                    "the last good tree was read from `{}`, and not from `{}`",
                    kept.sources, self.sources
                ),
                help: Some("give every daemon a --state-dir of its own".to_owned()),
            }),
            Ok(Some(kept)) if self.are_signed && kept.tree.signer().is_none() => Err(TreeError {
                path: directory.clone(),
                message:
                    "nobody asked who signed the last good tree, and --require-signed is given"
                        .to_owned(),
                help: Some(
                    "serve a signed commit, or start once without --require-signed".to_owned(),
                ),
            }),
            read => read,
        };
        if let Ok(Some(kept)) = &read {
            self.state().on_disk = Some(kept.identity());
        }
        let found = read.as_ref().ok().and_then(Option::as_ref);
        self.readiness.keeps(LastGood {
            directory,
            digest: found.map(|kept| kept.tree.digest().to_string()),
            accepted_at: found.map(|kept| kept.accepted_at),
            problem: read.as_ref().err().map(ToString::to_string),
        });
        read
    }

    /// Keeps a tree that went live, soon.
    pub fn keep(&self, kept: Kept) {
        if self.store.is_none() {
            return;
        }
        let mut state = self.state();
        let is_kept = state.on_disk == Some(kept.identity());
        state.next = (!is_kept).then(|| Arc::new(kept));
        self.metrics
            .last_good_kept
            .store(i64::from(is_kept), Ordering::Relaxed);
        drop(state);
        self.asked.notify_one();
    }

    /// Writes what is asked for, for ever.
    pub async fn run(self: Arc<Self>) {
        let Some(store) = &self.store else {
            return;
        };
        loop {
            self.asked.notified().await;
            while let Some(kept) = self.next() {
                let outcome = self.write(store, Arc::clone(&kept)).await;
                self.report(store, &kept, &outcome);
                if outcome.is_err() {
                    // A newer tree is worth a try at once; this one is, after a while, if none came.
                    let _ = tokio::time::timeout(RETRY, self.asked.notified()).await;
                    self.state().next.get_or_insert(kept);
                }
            }
        }
    }

    fn next(&self) -> Option<Arc<Kept>> {
        let mut state = self.state();
        let next = state.next.take()?;
        state.on_disk = None;
        Some(next)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, store: &Store, kept: Arc<Kept>) -> Result<(), String> {
        let owned = store.clone();
        let mut task = tokio::task::spawn_blocking(move || owned.keep(&kept));
        let outcome = match tokio::time::timeout(PATIENCE, &mut task).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                // A write cannot be called off; the newest tree waits for its turn.
                tracing::warn!(
                    directory = %store.directory().display(),
                    "keeping the last good tree takes long"
                );
                task.await
            }
        };
        match outcome {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn report(&self, store: &Store, kept: &Kept, outcome: &Result<(), String>) {
        let directory = store.directory().display().to_string();
        match outcome {
            Ok(()) => {
                let mut state = self.state();
                state.on_disk = Some(kept.identity());
                state.problem = None;
                self.metrics
                    .last_good_kept
                    .store(i64::from(state.next.is_none()), Ordering::Relaxed);
                drop(state);
                let digest = kept.tree.digest().to_string();
                tracing::debug!(directory, digest, "kept as the last good tree");
                self.readiness.keeps(LastGood {
                    directory,
                    digest: Some(digest),
                    accepted_at: Some(kept.accepted_at),
                    problem: None,
                });
            }
            Err(problem) => {
                self.metrics
                    .last_good_failures
                    .fetch_add(1, Ordering::Relaxed);
                if self.state().problem.replace(problem.clone()).as_ref() != Some(problem) {
                    tracing::error!(
                        directory,
                        problem,
                        "the tree that is served cannot be kept as the last good one; tried again every {} s",
                        RETRY.as_secs()
                    );
                }
                self.readiness.cannot_keep(problem);
            }
        }
    }
}

/// The sources, with the whole paths of folders: another daemon may have a folder of the same name elsewhere.
fn absolute(sources: &Sources) -> String {
    let texts: Vec<String> = sources
        .list()
        .iter()
        .map(|source| match source.folder().map(std::path::absolute) {
            Some(Ok(folder)) => folder.display().to_string(),
            _ => source.to_string(),
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use crate::tree::{Provenance, Tree};

    fn tree(text: &str) -> Kept {
        let files = [("a.toml".to_owned(), text.as_bytes().to_vec())];
        Kept {
            tree: Tree::new("gateway.d", files, Provenance::default()),
            sources: "/srv/gateway.d".to_owned(),
            accepted_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    fn keeper(directory: &std::path::Path) -> Keeper {
        Keeper::new(
            Some(directory.to_owned()),
            &Sources::new(["/srv/gateway.d".parse().unwrap()]),
            Arc::default(),
            Arc::default(),
        )
    }

    #[tokio::test]
    async fn a_tree_that_is_kept_already_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = keeper(folder.path());
        assert_eq!(first.read().await, Ok(None));
        first.keep(tree("one"));
        let next = first.next().unwrap();
        first
            .write(first.store.as_ref().unwrap(), next)
            .await
            .unwrap();

        let second = keeper(folder.path());
        assert!(second.read().await.unwrap().is_some());
        second.keep(tree("one"));
        assert!(second.next().is_none());
        assert_eq!(second.metrics.last_good_kept.load(Ordering::Relaxed), 1);
        second.keep(tree("two"));
        assert_eq!(second.metrics.last_good_kept.load(Ordering::Relaxed), 0);
        assert!(second.next().is_some());
        // While `two` is being written, nobody may think that `one` is there.
        second.keep(tree("one"));
        assert!(second.next().is_some());
    }

    #[tokio::test]
    async fn a_tree_of_other_sources_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept {
            sources: "/srv/other.d".to_owned(),
            ..tree("one")
        };
        Store::new(folder.path()).keep(&kept).unwrap();
        let error = keeper(folder.path()).read().await.unwrap_err();
        assert!(error.message.contains("other.d"), "{error}");
    }

    #[tokio::test]
    async fn a_tree_whose_signature_nobody_asked_for_is_not_served_where_only_signed_ones_are() {
        let folder = tempfile::tempdir().unwrap();
        let source = "git:/srv/config.git#main";
        let sources = Sources::new([source.parse().unwrap()])
            .signed("/nonexistent".into())
            .unwrap();
        let of = |signer: Option<&str>| Kept {
            tree: Tree::new(
                source,
                [("a.toml".to_owned(), Vec::new())],
                Provenance {
                    signer: signer.map(str::to_owned),
                    ..Provenance::default()
                },
            ),
            sources: source.to_owned(),
            ..tree("")
        };
        let directory = Some(folder.path().to_owned());
        let keeper = Keeper::new(directory, &sources, Arc::default(), Arc::default());
        let store = Store::new(folder.path());
        store.keep(&of(Some("ann@example.org"))).unwrap();
        assert!(keeper.read().await.unwrap().is_some());
        store.keep(&of(None)).unwrap();
        let error = keeper.read().await.unwrap_err();
        assert!(error.message.contains("who signed"), "{error}");
    }

    #[tokio::test]
    async fn a_tree_that_cannot_be_kept_is_reported_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let keeper = keeper(&file);
        keeper.keep(tree("one"));
        let next = keeper.next().unwrap();
        let store = keeper.store.as_ref().unwrap();
        let outcome = keeper.write(store, Arc::clone(&next)).await;
        keeper.report(store, &next, &outcome);
        assert!(outcome.is_err());
        let metrics = keeper.metrics.encode([]);
        assert!(
            metrics.contains("\ntidegate_last_good_failures_total 1\n"),
            "{metrics}"
        );
        assert!(metrics.contains("\ntidegate_last_good_kept 0\n"));
    }
}
