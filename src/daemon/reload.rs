//! Trigger → tree → load → plan → build → publish → report. Half a tree is never served: any problem leaves what runs as
//! it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinError;

use super::keeper::Keeper;
use super::{Failure, Settings};
use crate::clock::Clock;
use crate::manifest::secrets::Machine;
use crate::manifest::{Cache, Diagnostic, Diagnostics, Recorder, Schemas, SecretsRead, load};
use crate::snapshot::assemble::{Assembly, settings, wanted};
use crate::snapshot::build;
use crate::snapshot::candidate::Candidate;
use crate::snapshot::documents::Documents;
use crate::snapshot::lease::end_leases;
use crate::snapshot::plan::Tally;
use crate::snapshot::publish::{Attempt, Publisher, Reader};
use crate::snapshot::{LayerRevision, Revision, Snapshot};
use crate::telemetry::metrics::{Metrics, ReloadOutcome};
use crate::tree::store::Kept;
use crate::tree::{Fingerprint, Layer, Sources, Tree, TreeError};
use crate::watch::Trigger;

/// Looks at the tree and publishes what it says.
pub struct Reloader {
    sources: Sources,
    machine: Machine,
    data_directory: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    keeper: Arc<Keeper>,
    looks: watch::Sender<Looks>,
    publisher: Publisher,
    reader: Reader,
    /// The tree that is served.
    accepted: Seen,
    /// The last tree that was refused, so that it is reported once.
    refused: Option<Seen>,
    /// What is known of the last tree, so that only what changed is read and assembled.
    known: Known,
}

/// What is known of the last tree. It decides how long a reload takes, never what comes of it.
#[derive(Default)]
struct Known {
    files: Cache,
    applications: Assembly,
}

/// A tree that was looked at, and what was read of its secrets.
#[derive(Clone)]
struct Seen {
    tree: Fingerprint,
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

/// A candidate, and what it was read from.
struct Read {
    candidate: Candidate,
    seen: Seen,
    /// When it was accepted, if it is the last good tree.
    last_good: Option<DateTime<Utc>>,
}

/// A revision that was built, and what is kept of it.
struct Built {
    snapshot: Arc<Snapshot>,
    tally: Tally,
    seen: Seen,
    kept: Kept,
}

impl Reloader {
    /// Reads the tree for the first time. When it has problems the last good tree is served, if one is kept and
    /// `settings` allow it; otherwise that is an error.
    pub async fn start(
        settings: &Settings,
        trigger: &Trigger,
        keeper: Arc<Keeper>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Reader), Failure> {
        let sources = settings.sources.clone();
        let machine = settings.secrets.clone();
        let data_directory = settings.data_directory.clone();
        let host = Host {
            data_directory: data_directory.clone(),
            clock: Arc::clone(&clock),
            sources: keeper.sources().to_owned(),
        };
        let mut known = Known::default();
        let kept = keeper.read().await;
        let look = FirstLook {
            tree: None,
            secrets: SecretsRead::default(),
        };
        let built = match read(&sources, &machine, look, trigger, &mut known).await {
            Ok(read) => first(read, &kept, &host, &mut known).await,
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
            Err(refused) => match last_good(kept, machine.clone(), &host, &mut known).await {
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
        let (publisher, reader) = Publisher::new(
            Arc::clone(&built.snapshot),
            attempt(&clock, "applied", Vec::new()),
        );
        let mut reloader = Self {
            sources,
            machine,
            data_directory,
            clock,
            metrics,
            keeper,
            looks: watch::Sender::default(),
            publisher,
            reader: reader.clone(),
            accepted: built.seen,
            refused: None,
            known,
        };
        reloader.report_applied(&built.snapshot, built.tally);
        match refused {
            None => reloader.keeper.keep(built.kept),
            Some(Refused { problems, seen }) => {
                reloader.metrics.last_good_kept.store(1, Ordering::Relaxed);
                reloader.refuse(&problems, seen.map(|seen| *seen));
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
            self.look(&trigger).await;
            self.looks.send_modify(|looks| looks.ended = looks.begun);
        }
    }

    /// One look. What runs changes only if everything is well.
    async fn look(&mut self, trigger: &Trigger) {
        let Some(look) = self.news().await else {
            return;
        };
        let known = &mut self.known;
        let read = match read(&self.sources, &self.machine, look, trigger, known).await {
            Ok(read) => read,
            Err(Refused { problems, seen }) => {
                return self.refuse(&problems, seen.map(|seen| *seen));
            }
        };
        let current = self.reader.current();
        let is_served = read.seen.tree.is_same_revision(&self.accepted.tree)
            && read.seen.secrets == self.accepted.secrets;
        // A tree that is mended while the last good one is served goes live anew, even if they are equal: what is served
        // is no stopgap any more.
        if is_served && current.last_good.is_none() {
            self.accepted = read.seen;
            return self.unchanged();
        }
        if let Some(problems) = self.emptied(&read.candidate) {
            return self.refuse(&problems, Some(read.seen));
        }
        let generation = current.revision.generation.saturating_add(1);
        let host = Host {
            data_directory: self.data_directory.clone(),
            clock: Arc::clone(&self.clock),
            sources: self.keeper.sources().to_owned(),
        };
        let running = Some(Arc::clone(&current));
        match build_snapshot(read, generation, running, &host, &mut self.known).await {
            // What cannot be opened may be for want of something on the host, so every look tries again.
            Err(problems) => self.refuse(&problems, None),
            Ok(built) => {
                self.apply(&current, built);
                // What only the old revision had may be much, and closing it may take a moment.
                tokio::task::spawn_blocking(move || drop(current));
            }
        }
    }

    /// A new revision goes live, and only then becomes the last good one.
    fn apply(&mut self, current: &Snapshot, built: Built) {
        let Built {
            snapshot,
            tally,
            seen,
            kept,
        } = built;
        self.publisher.publish(
            Arc::clone(&snapshot),
            attempt(&self.clock, "applied", Vec::new()),
        );
        if tally.replaced > 0 || tally.closed > 0 {
            let drain = snapshot.settings.stream_drain;
            end_leases(current, &snapshot, self.clock.instant() + drain);
        }
        self.accepted = seen;
        self.refused = None;
        self.report_applied(&snapshot, tally);
        self.keeper.keep(kept);
    }

    /// A cheap first look: one read of folders, one name of commits. A tree that is neither the served nor the refused
    /// one, or whose secrets may have other values now, is read again, with care. None if there is no need to.
    async fn news(&mut self) -> Option<FirstLook> {
        let sources = self.sources.clone();
        let machine = self.machine.clone();
        let accepted = self.accepted.clone();
        let refused = self.refused.clone();
        let is_stopgap = self.reader.current().last_good.is_some();
        let looked = tokio::task::spawn_blocking(move || {
            let known: Vec<&Fingerprint> = std::iter::once(&accepted)
                .chain(&refused)
                .map(|seen| &seen.tree)
                .collect();
            let look = sources.look(&known).ok()?;
            let is_again = |seen: &Seen| !seen.secrets.have_changed(&machine);
            let (mut is_accepted, mut is_refused) = (false, false);
            if let Some(tree) = look.fingerprint() {
                is_refused = refused.as_ref().is_some_and(|refused| {
                    refused.tree.digest() == tree.digest() && is_again(refused)
                });
                is_accepted =
                    !is_stopgap && tree.is_same_revision(&accepted.tree) && is_again(&accepted);
            }
            Some((is_accepted, is_refused, look))
        })
        .await;
        let secrets = self.accepted.secrets.clone();
        let Ok(Some((is_accepted, is_refused, look))) = looked else {
            let tree = None;
            return Some(FirstLook { tree, secrets });
        };
        if is_accepted {
            self.unchanged();
        }
        let is_known = is_accepted || is_refused;
        (!is_known).then(|| FirstLook {
            tree: look.into_tree(),
            secrets,
        })
    }

    /// Why a tree is too empty to replace the one that is served: a folder that was lost is no wish to serve less.
    fn emptied(&self, candidate: &Candidate) -> Option<Diagnostics> {
        if is_refused_empty(candidate) && !self.serves_nothing() {
            return Some(empty_over_full());
        }
        let current = self.reader.current();
        let served = current.revision.layers.iter().map(|layer| layer.files);
        lost_layer(candidate, served)
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

    fn refuse(&mut self, problems: &Diagnostics, seen: Option<Seen>) {
        self.metrics.reloaded(ReloadOutcome::Refused, 0);
        let document = problems.to_json();
        let list = document.as_array().cloned().unwrap_or_default();
        let is_news = self.reader.last_attempt().outcome != "refused"
            || self.reader.last_attempt().problems != list;
        self.refused = seen;
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
        if tally.closed > 0 {
            self.metrics
                .retain_services(|service| snapshot.services.contains_key(service));
        }
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
            signer = revision.signer,
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

/// Why a tree does not take the place of one whose layers have so many files: a layer that is lost is no wish to serve
/// less.
fn lost_layer(
    candidate: &Candidate,
    before: impl IntoIterator<Item = usize>,
) -> Option<Diagnostics> {
    if candidate.set.gateway.allow_empty {
        return None;
    }
    let mut layers = candidate.tree.layers().iter().zip(before);
    let (layer, _) = layers.find(|(layer, before)| layer.files().len() == 0 && *before > 0)?;
    let label = layer.label();
    let problem = Diagnostic::error(
        None,
        format!("the layer {label} is empty, and an empty layer never replaces a full one"),
    );
    let problem = problem.with_help(
        "restore its manifests; where that is meant, leave one with a comment in it, or say \
         `allow_empty = true` in a [gateway] table",
    );
    Some(Diagnostics::new("", 0, vec![problem]))
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
    /// What it was, if it could be read at all.
    seen: Option<Box<Seen>>,
}

/// What is known before a tree is read with care.
struct FirstLook {
    /// The tree, if it was read already.
    tree: Option<Tree>,
    /// What was read of the secrets of the tree that is served.
    secrets: SecretsRead,
}

/// Reads, loads and types a tree, off the runtime's threads. Waits while somebody is in the middle of writing.
async fn read(
    sources: &Sources,
    machine: &Machine,
    look: FirstLook,
    trigger: &Trigger,
    known: &mut Known,
) -> Result<Read, Refused> {
    let label = sources.to_string();
    let (sources, machine, trigger) = (sources.clone(), machine.clone(), trigger.clone());
    let mut files = std::mem::take(&mut known.files);
    let work = move |files: &mut Cache| {
        let tree = sources
            .read_settled_after(look.tree, &mut |time| trigger.pause(time))
            .map_err(|error| Refused {
                problems: error.into(),
                seen: None,
            })?;
        let fingerprint = tree.fingerprint().clone();
        let recorder = Recorder::after(&machine, &look.secrets);
        let candidate = Candidate::again(tree, &recorder, files);
        let seen = Seen {
            tree: fingerprint,
            secrets: recorder.finish(),
        };
        match candidate {
            Ok(candidate) => Ok(Read {
                candidate,
                seen,
                last_good: None,
            }),
            Err(problems) => Err(Refused {
                problems,
                seen: Some(Box::new(seen)),
            }),
        }
    };
    match tokio::task::spawn_blocking(move || (work(&mut files), files)).await {
        Ok((read, files)) => {
            known.files = files;
            read
        }
        Err(error) => Err(Refused {
            problems: broke_off("reading the tree", label, &error),
            seen: None,
        }),
    }
}

/// What to say of work that panicked.
fn broke_off(work: &str, label: String, error: &JoinError) -> Diagnostics {
    let problem = Diagnostic::error(None, format!("{work} broke off: {error}"));
    Diagnostics::new(label, 0, vec![problem])
}

/// Builds the first revision from the tree of the sources. An empty tree does not take the place of a full one that is
/// kept.
async fn first(
    read: Read,
    kept: &Result<Option<Kept>, TreeError>,
    host: &Host,
    known: &mut Known,
) -> Result<Built, Refused> {
    if is_refused_empty(&read.candidate)
        && let Ok(Some(kept)) = kept
        && !is_empty(kept.tree.clone()).await
    {
        return Err(Refused {
            problems: empty_over_full(),
            seen: Some(Box::new(read.seen)),
        });
    }
    if let Ok(Some(kept)) = kept {
        let files = kept.tree.layers().iter().map(|layer| layer.files().len());
        if let Some(problems) = lost_layer(&read.candidate, files) {
            return Err(Refused {
                problems,
                seen: Some(Box::new(read.seen)),
            });
        }
    }
    build_snapshot(read, 1, None, host, known)
        .await
        .map_err(|problems| Refused {
            problems,
            seen: None,
        })
}

/// Builds the first revision from the last good tree; none where none is kept. Fails with what is wrong with it.
async fn last_good(
    kept: Result<Option<Kept>, TreeError>,
    machine: Machine,
    host: &Host,
    known: &mut Known,
) -> Result<Option<Built>, Diagnostics> {
    let Some(kept) = kept? else {
        return Ok(None);
    };
    let label = kept.tree.label().to_owned();
    let task = tokio::task::spawn_blocking(move || {
        let tree = kept.tree.fingerprint().clone();
        let recorder = Recorder::new(&machine);
        let candidate = Candidate::of(kept.tree, &recorder)?;
        let secrets = recorder.finish();
        Ok(Read {
            candidate,
            seen: Seen { tree, secrets },
            last_good: Some(kept.accepted_at),
        })
    });
    let read = task
        .await
        .unwrap_or_else(|error| Err(broke_off("reading the last good tree", label, &error)))?;
    build_snapshot(read, 1, None, host, known).await.map(Some)
}

/// What building needs of the host.
#[derive(Clone)]
struct Host {
    data_directory: PathBuf,
    clock: Arc<dyn Clock>,
    /// The sources, as they are kept.
    sources: String,
}

fn layer_revision(layer: &Layer) -> LayerRevision {
    let provenance = layer.provenance();
    LayerRevision {
        label: layer.label().to_owned(),
        digest: layer.digest().to_string(),
        commit: provenance.commit.clone(),
        dirty: provenance.dirty,
        files: layer.files().len(),
    }
}

/// Builds the next revision, off the runtime's threads: of ten thousand services that takes a while. `running` is the one
/// that is served.
async fn build_snapshot(
    read: Read,
    generation: u64,
    running: Option<Arc<Snapshot>>,
    host: &Host,
    known: &mut Known,
) -> Result<Built, Diagnostics> {
    let label = read.candidate.tree.label().to_owned();
    let host = host.clone();
    let mut applications = std::mem::take(&mut known.applications);
    let runtime = Handle::current();
    let work = move || {
        let building = built(read, generation, running, host, &mut applications);
        let built = runtime.block_on(building);
        (built, applications)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((built, applications)) => {
            known.applications = applications;
            built
        }
        Err(error) => Err(broke_off("building the revision", label, &error)),
    }
}

async fn built(
    read: Read,
    generation: u64,
    running: Option<Arc<Snapshot>>,
    host: Host,
    applications: &mut Assembly,
) -> Result<Built, Diagnostics> {
    let Read {
        candidate,
        seen,
        last_good,
    } = read;
    let Candidate { tree, set, configs } = candidate;
    warn(&set.warnings);
    let wanted = wanted(&set, configs);
    let none = BTreeMap::new();
    let running = running.as_ref().map_or(&none, |running| &running.services);
    let (services, tally) = build::services(running, wanted, &host.data_directory, &host.clock)
        .await
        .map_err(|failures| build::problems(&set, &failures))?;
    let now = host.clock.now();
    let revision = Revision::new(
        generation,
        tree.digest().to_string(),
        tree.commit().map(str::to_owned),
        tree.dirty(),
        now,
    )
    .signed_by(tree.signer())
    .with_layers(tree.layers().iter().map(layer_revision).collect());
    let snapshot = Snapshot {
        revision,
        last_good,
        services,
        applications: applications.applications(&set),
        settings: settings(&set.gateway),
        documents: Documents::default(),
    };
    Ok(Built {
        snapshot: Arc::new(snapshot),
        tally,
        seen,
        kept: Kept {
            tree,
            sources: host.sources,
            accepted_at: now,
        },
    })
}
