//! Trigger → tree → load → plan → build → publish → report. Half a tree is never served: any problem leaves what runs as
//! it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::watch;

use super::keeper::Keeper;
use super::provenance::is_dirty;
use super::{Failure, Settings};
use crate::clock::Clock;
use crate::manifest::secrets::Machine;
use crate::manifest::{Diagnostic, Diagnostics, Schemas, SecretsRead, load};
use crate::names::ServiceName;
use crate::snapshot::assemble::{applications, settings, wanted};
use crate::snapshot::build;
use crate::snapshot::candidate::Candidate;
use crate::snapshot::documents::Documents;
use crate::snapshot::lease::end_leases;
use crate::snapshot::plan::Tally;
use crate::snapshot::publish::{Attempt, Publisher, Reader};
use crate::snapshot::{Revision, Service, Snapshot};
use crate::telemetry::metrics::{Metrics, ReloadOutcome};
use crate::tree::store::Kept;
use crate::tree::{Sources, Tree, TreeError};
use crate::watch::Trigger;

/// Looks at the tree and publishes what it says.
pub struct Reloader {
    sources: Sources,
    data_directory: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    keeper: Arc<Keeper>,
    looks: watch::Sender<Looks>,
    publisher: Publisher,
    reader: Reader,
    /// The digest of the tree that is served.
    accepted: String,
    /// The digest of the last tree that was refused, so that it is reported once.
    refused: Option<String>,
    secrets: SecretsRead,
}

/// How many looks at the tree were begun, and how many have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Begun since the start.
    pub begun: u64,
    /// Ended since the start: as many, or one less.
    pub ended: u64,
}

/// What a daemon does that starts on a tree that it cannot serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadStart {
    /// It ends.
    Fail,
    /// It serves the last good tree, if one is kept.
    #[default]
    LastGood,
}

/// A candidate, and whether its tree differs from the commit.
struct Read {
    candidate: Candidate,
    dirty: Option<bool>,
    /// When it was accepted, if it is the last good tree.
    last_good: Option<DateTime<Utc>>,
}

/// A revision that was built, and what is kept of it.
struct Built {
    snapshot: Arc<Snapshot>,
    tally: Tally,
    secrets: SecretsRead,
    kept: Kept,
}

impl Reloader {
    /// Reads the tree for the first time. When it has problems the last good tree is served, if one is kept and
    /// `settings` allow it; otherwise that is an error.
    pub async fn start(
        settings: &Settings,
        keeper: Arc<Keeper>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Reader), Failure> {
        let sources = settings.sources.clone();
        let data_directory = settings.data_directory.clone();
        let kept = keeper.read().await;
        let mut read = read(sources.clone()).await;
        if let (Ok(first), Ok(Some(kept))) = (&read, &kept)
            && is_refused_empty(&first.candidate)
            && !is_empty(kept.tree.clone()).await
        {
            read = Err(Refused {
                digest: Some(first.candidate.tree.digest().to_string()),
                problems: empty_over_full(),
            });
        }
        let host = Host {
            data_directory: &data_directory,
            clock: &clock,
            metrics: &metrics,
            sources: keeper.sources(),
        };
        let running = BTreeMap::new();
        let built = match read {
            Ok(read) => {
                let digest = read.candidate.tree.digest().to_string();
                build_snapshot(read, 1, &running, host)
                    .await
                    .map_err(|problems| Refused {
                        problems,
                        digest: Some(digest),
                    })
            }
            Err(refused) => Err(refused),
        };
        let (built, refused) = match built {
            Ok(built) => {
                if let Err(error) = &kept {
                    tracing::warn!(%error, "the last good tree cannot be used; this one takes its place");
                }
                (built, None)
            }
            Err(refused) if settings.on_bad_start == OnBadStart::Fail => {
                return Err(Failure::Tree(refused.problems));
            }
            Err(refused) => match last_good(kept, host).await {
                Ok(Some(built)) => (built, Some(refused)),
                Ok(None) => return Err(Failure::Tree(refused.problems)),
                Err(last_good) => {
                    return Err(Failure::BothTrees {
                        tree: refused.problems,
                        last_good,
                    });
                }
            },
        };
        let Built {
            snapshot,
            tally,
            secrets,
            kept,
        } = built;
        let accepted = snapshot.revision.digest.clone();
        let (publisher, reader) = Publisher::new(
            Arc::clone(&snapshot),
            attempt(&clock, "applied", Vec::new()),
        );
        let mut reloader = Self {
            sources,
            data_directory,
            clock,
            metrics,
            keeper,
            looks: watch::Sender::default(),
            publisher,
            reader: reader.clone(),
            accepted,
            refused: None,
            secrets,
        };
        reloader.report_applied(&snapshot, tally);
        match refused {
            None => reloader.keeper.keep(kept),
            Some(Refused { problems, digest }) => {
                reloader.metrics.last_good_kept.store(1, Ordering::Relaxed);
                reloader.refuse(&problems, digest);
            }
        }
        Ok((reloader, reader))
    }

    /// How many looks were begun and have ended; for whoever asked for one and waits for it.
    pub fn looks(&self) -> watch::Receiver<Looks> {
        self.looks.subscribe()
    }

    /// Looks at the tree whenever the trigger fires, for ever.
    pub async fn run(mut self, trigger: Trigger) {
        loop {
            trigger.fired().await;
            self.looks.send_modify(|looks| looks.begun += 1);
            self.look().await;
            self.looks.send_modify(|looks| looks.ended = looks.begun);
        }
    }

    /// One look. What runs changes only if everything is well.
    async fn look(&mut self) {
        if self.is_unchanged().await {
            return;
        }
        let read = match read(self.sources.clone()).await {
            Ok(read) => read,
            Err(Refused { problems, digest }) => return self.refuse(&problems, digest),
        };
        let candidate = &read.candidate;
        let digest = candidate.tree.digest().to_string();
        let current = self.reader.current();
        // A tree that is mended while the last good one is served goes live anew, even if they are equal: it may come from
        // another commit, and what is served is no stopgap any more.
        let is_served = digest == self.accepted && current.last_good.is_none();
        if is_served && candidate.configs.secrets == self.secrets {
            return self.unchanged();
        }
        if is_refused_empty(candidate) && !self.serves_nothing() {
            return self.refuse(&empty_over_full(), Some(digest));
        }
        let generation = current.revision.generation.saturating_add(1);
        let host = Host {
            data_directory: &self.data_directory,
            clock: &self.clock,
            metrics: &self.metrics,
            sources: self.keeper.sources(),
        };
        match build_snapshot(read, generation, &current.services, host).await {
            Err(problems) => self.refuse(&problems, Some(digest)),
            Ok(built) => self.apply(&current, built),
        }
    }

    /// A new revision goes live, and only then becomes the last good one.
    fn apply(&mut self, current: &Snapshot, built: Built) {
        let Built {
            snapshot,
            tally,
            secrets,
            kept,
        } = built;
        self.publisher.publish(
            Arc::clone(&snapshot),
            attempt(&self.clock, "applied", Vec::new()),
        );
        let drain = snapshot.settings.stream_drain;
        end_leases(current, &snapshot, self.clock.instant() + drain);
        self.accepted.clone_from(&snapshot.revision.digest);
        self.refused = None;
        self.secrets = secrets;
        self.report_applied(&snapshot, tally);
        self.keeper.keep(kept);
    }

    /// A cheap first look: one read, one digest. A tree that is neither the served nor the refused one is read again, with
    /// care.
    async fn is_unchanged(&mut self) -> bool {
        let sources = self.sources.clone();
        let secrets = self.secrets.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let digest = sources.read().ok().map(|tree| tree.digest().to_string());
            (digest, secrets.have_changed(&Machine))
        })
        .await;
        let Ok((Some(digest), secrets_changed)) = looked else {
            return false;
        };
        if secrets_changed {
            return false;
        }
        if digest == self.accepted && self.reader.current().last_good.is_none() {
            self.unchanged();
            return true;
        }
        self.refused.as_ref() == Some(&digest)
    }

    fn serves_nothing(&self) -> bool {
        let current = self.reader.current();
        current.services.is_empty() && current.applications.is_empty()
    }

    /// The tree is the one that is served; if it was broken in between, it is mended now.
    fn unchanged(&mut self) {
        self.metrics.reloaded(ReloadOutcome::Unchanged, 0);
        if self.refused.take().is_some() || self.reader.last_attempt().outcome == "refused" {
            tracing::info!(revision = %self.reader.current().revision, "the tree is again the one that is served");
            self.publisher
                .attempted(attempt(&self.clock, "unchanged", Vec::new()));
        }
    }

    fn refuse(&mut self, problems: &Diagnostics, digest: Option<String>) {
        self.metrics.reloaded(ReloadOutcome::Refused, 0);
        let document = problems.to_json();
        let list = document.as_array().cloned().unwrap_or_default();
        let is_news = self.reader.last_attempt().outcome != "refused"
            || self.reader.last_attempt().problems != list;
        self.refused = digest;
        if is_news {
            let current = self.reader.current();
            let revision = &current.revision;
            let served = match current.last_good {
                None => format!("still serving {revision}"),
                Some(accepted_at) => format!(
                    "serving the last good tree, accepted {}, as {revision}",
                    accepted_at.to_rfc3339_opts(SecondsFormat::Secs, true)
                ),
            };
            tracing::error!(
                generation = revision.generation,
                "the tree is refused, {served}\n{}",
                problems.render(false)
            );
        }
        self.publisher
            .attempted(attempt(&self.clock, "refused", list));
    }

    fn report_applied(&self, snapshot: &Snapshot, tally: Tally) {
        let revision = &snapshot.revision;
        self.metrics
            .retain_services(|service| snapshot.services.contains_key(service));
        self.metrics.serves(
            revision.generation,
            &revision.to_string(),
            revision.commit.as_deref(),
        );
        self.metrics
            .reloaded(ReloadOutcome::Applied, revision.loaded_at.timestamp());
        self.metrics
            .serves_last_good
            .store(i64::from(snapshot.last_good.is_some()), Ordering::Relaxed);
        tracing::info!(
            revision = %revision,
            digest = revision.digest,
            commit = revision.commit,
            kept = tally.kept,
            opened = tally.opened,
            replaced = tally.replaced,
            closed = tally.closed,
            "serving"
        );
    }
}

/// Whether a tree is empty and does not say that it is meant to be.
fn is_refused_empty(candidate: &Candidate) -> bool {
    candidate.set.is_empty() && !candidate.set.gateway.allow_empty
}

fn empty_over_full() -> Diagnostics {
    let problem = Diagnostic::error(
        None,
        "the tree is empty, and an empty tree never replaces a full one",
    )
    .with_help("restore the manifests, or say `allow_empty = true` in a [gateway] table");
    Diagnostics::new("", 0, vec![problem])
}

/// Whether a tree has nothing to serve; so has one that cannot be loaded.
async fn is_empty(tree: Tree) -> bool {
    let work = move || load(&tree, Schemas::standard()).map_or(true, |set| set.is_empty());
    tokio::task::spawn_blocking(work).await.unwrap_or(true)
}

fn warn(warnings: &Diagnostics) {
    if !warnings.is_empty() {
        tracing::warn!("the tree has warnings\n{}", warnings.render(false));
    }
}

fn attempt(
    clock: &Arc<dyn Clock>,
    outcome: &'static str,
    problems: Vec<serde_json::Value>,
) -> Attempt {
    Attempt {
        at: clock.now(),
        outcome,
        problems,
    }
}

/// Why a tree cannot be served.
struct Refused {
    problems: Diagnostics,
    /// Its digest, if it could be read at all.
    digest: Option<String>,
}

/// Reads, loads and types a tree, off the runtime's threads.
async fn read(sources: Sources) -> Result<Read, Refused> {
    let label = sources.to_string();
    let work = move || {
        let tree = sources
            .read_settled(&mut std::thread::sleep)
            .map_err(|error| Refused {
                problems: error.into(),
                digest: None,
            })?;
        let digest = tree.digest().to_string();
        let dirty = dirty(&tree);
        let candidate = Candidate::of(tree, &Machine).map_err(|problems| Refused {
            problems,
            digest: Some(digest),
        })?;
        Ok(Read {
            candidate,
            dirty,
            last_good: None,
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            let problem = Diagnostic::error(None, format!("reading the tree broke off: {error}"));
            Err(Refused {
                problems: Diagnostics::new(label, 0, vec![problem]),
                digest: None,
            })
        })
}

/// Whether any layer differs from its commit; none where one of them has none or nobody knows.
fn dirty(tree: &Tree) -> Option<bool> {
    let mut layers = tree.layers().iter().map(|layer| {
        let provenance = layer.provenance();
        provenance.commit.as_ref()?;
        is_dirty(provenance.path.as_deref()?)
    });
    layers.try_fold(false, |dirty, layer| Some(dirty | layer?))
}

/// Builds the last good tree; none where none is kept. Fails with what is wrong with it.
async fn last_good(
    kept: Result<Option<Kept>, TreeError>,
    host: Host<'_>,
) -> Result<Option<Built>, Diagnostics> {
    let Some(kept) = kept? else {
        return Ok(None);
    };
    let label = kept.tree.label().to_owned();
    let task = tokio::task::spawn_blocking(move || {
        Ok(Read {
            candidate: Candidate::of(kept.tree, &Machine)?,
            dirty: kept.dirty,
            last_good: Some(kept.accepted_at),
        })
    });
    let read = task.await.unwrap_or_else(|error| {
        let problem = Diagnostic::error(
            None,
            format!("reading the last good tree broke off: {error}"),
        );
        Err(Diagnostics::new(label, 0, vec![problem]))
    })?;
    build_snapshot(read, 1, &BTreeMap::new(), host)
        .await
        .map(Some)
}

/// What building needs of the host.
#[derive(Clone, Copy)]
struct Host<'a> {
    data_directory: &'a Path,
    clock: &'a Arc<dyn Clock>,
    metrics: &'a Metrics,
    /// The sources, as they are kept.
    sources: &'a str,
}

async fn build_snapshot(
    read: Read,
    generation: u64,
    running: &BTreeMap<ServiceName, Arc<Service>>,
    host: Host<'_>,
) -> Result<Built, Diagnostics> {
    let Read {
        candidate,
        dirty,
        last_good,
    } = read;
    let Candidate { tree, set, configs } = candidate;
    warn(&set.warnings);
    let secrets = configs.secrets.clone();
    let wanted = wanted(&set, configs);
    let (services, tally) = build::services(
        running,
        wanted,
        host.data_directory,
        host.clock,
        host.metrics,
    )
    .await
    .map_err(|error| {
        let problem = Diagnostic::error(None, error.message().to_owned());
        tracing::debug!(?error, "a service cannot be opened");
        Diagnostics::new(
            tree.label(),
            tree.file_count(),
            vec![match error.help() {
                Some(help) => problem.with_help(help.to_owned()),
                None => problem,
            }],
        )
    })?;
    let now = host.clock.now();
    let revision = Revision::new(
        generation,
        tree.digest().to_string(),
        tree.commit().map(str::to_owned),
        dirty,
        now,
    );
    let snapshot = Snapshot {
        revision,
        last_good,
        services,
        applications: applications(&set),
        settings: settings(&set.gateway),
        documents: Documents::default(),
    };
    Ok(Built {
        snapshot: Arc::new(snapshot),
        tally,
        secrets,
        kept: Kept {
            tree,
            sources: host.sources.to_owned(),
            dirty,
            accepted_at: now,
        },
    })
}
