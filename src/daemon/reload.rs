//! Trigger → tree → load → plan → build → publish → report. Half a tree is never served: any problem leaves what runs as
//! it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::{Failure, Settings};
use crate::clock::Clock;
use crate::manifest::secrets::Machine;
use crate::manifest::{Cache, Diagnostic, Diagnostics, Recorder, SecretsRead};
use crate::snapshot::assemble::{Assembly, settings, wanted};
use crate::snapshot::build;
use crate::snapshot::candidate::Candidate;
use crate::snapshot::documents::Documents;
use crate::snapshot::plan::Tally;
use crate::snapshot::publish::{Attempt, Publisher, Reader};
use crate::snapshot::{Revision, Snapshot};
use crate::telemetry::metrics::{Metrics, ReloadOutcome};
use crate::tree::{Fingerprint, Sources, Tree};
use crate::watch::Trigger;

/// Looks at the tree and publishes what it says.
pub struct Reloader {
    sources: Sources,
    machine: Machine,
    data_directory: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
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

/// A candidate, and what it was read from.
struct Read {
    candidate: Candidate,
    seen: Seen,
}

impl Reloader {
    /// Reads the tree for the first time. Errors when it has problems: there is nothing else to serve.
    pub async fn start(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Reader), Failure> {
        let sources = settings.sources.clone();
        let machine = settings.secrets.clone();
        let data_directory = settings.data_directory.clone();
        let mut known = Known::default();
        let nothing = SecretsRead::default();
        let read = read(&sources, None, &machine, nothing, &mut known)
            .await
            .map_err(|refused| Failure::Tree(refused.problems))?;
        warn(&read.candidate.set.warnings);
        let accepted = read.seen.clone();
        let (snapshot, tally) = build_snapshot(read, 1, None, &data_directory, &clock, &mut known)
            .await
            .map_err(Failure::Tree)?;
        let (publisher, reader) = Publisher::new(
            Arc::clone(&snapshot),
            attempt(&clock, "applied", Vec::new()),
        );
        let reloader = Self {
            sources,
            machine,
            data_directory,
            clock,
            metrics,
            publisher,
            reader: reader.clone(),
            accepted,
            refused: None,
            known,
        };
        reloader.report_applied(&snapshot, tally);
        Ok((reloader, reader))
    }

    /// Looks at the tree whenever the trigger fires, for ever.
    pub async fn run(mut self, trigger: Trigger) {
        loop {
            trigger.fired().await;
            self.look().await;
        }
    }

    /// One look. What runs changes only if everything is well.
    async fn look(&mut self) {
        let Some(News { first }) = self.news().await else {
            return;
        };
        let secrets = self.accepted.secrets.clone();
        let reading = read(
            &self.sources,
            first,
            &self.machine,
            secrets,
            &mut self.known,
        );
        let read = match reading.await {
            Ok(read) => read,
            Err(Refused { problems, seen }) => return self.refuse(&problems, seen),
        };
        let candidate = &read.candidate;
        let seen = read.seen.clone();
        if seen.tree.is_same_revision(&self.accepted.tree) && seen.secrets == self.accepted.secrets
        {
            self.accepted = seen;
            return self.unchanged();
        }
        if candidate.set.is_empty() && !candidate.set.gateway.allow_empty && !self.serves_nothing()
        {
            let problem = Diagnostic::error(
                None,
                "the tree is empty, and an empty tree never replaces a full one",
            )
            .with_help("restore the manifests, or say `allow_empty = true` in a [gateway] table");
            return self.refuse(&Diagnostics::new("", 0, vec![problem]), Some(seen));
        }
        warn(&candidate.set.warnings);
        let current = self.reader.current();
        let generation = current.revision.generation.saturating_add(1);
        let built = build_snapshot(
            read,
            generation,
            Some(Arc::clone(&current)),
            &self.data_directory,
            &self.clock,
            &mut self.known,
        )
        .await;
        match built {
            Err(problems) => self.refuse(&problems, Some(seen)),
            Ok((snapshot, tally)) => {
                self.publisher.publish(Arc::clone(&snapshot));
                self.publisher
                    .attempted(attempt(&self.clock, "applied", Vec::new()));
                self.accepted = seen;
                self.refused = None;
                self.report_applied(&snapshot, tally);
                // What only the old revision had may be much, and closing it may take a moment.
                tokio::task::spawn_blocking(move || drop(current));
            }
        }
    }

    /// A cheap first look: one read of folders, one name of commits. A tree that is neither the served nor the refused
    /// one, or whose secrets may have other values now, is read again, with care. None if there is no need to.
    async fn news(&mut self) -> Option<News> {
        let sources = self.sources.clone();
        let machine = self.machine.clone();
        let accepted = self.accepted.clone();
        let refused = self.refused.clone();
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
                is_accepted = tree.is_same_revision(&accepted.tree) && is_again(&accepted);
            }
            Some((is_accepted, is_refused, look))
        })
        .await;
        let Ok(Some((is_accepted, is_refused, look))) = looked else {
            return Some(News { first: None });
        };
        if is_accepted {
            self.unchanged();
        }
        let is_known = is_accepted || is_refused;
        (!is_known).then(|| News {
            first: look.into_tree(),
        })
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
            let revision = &self.reader.current().revision;
            tracing::error!(
                generation = revision.generation,
                "the tree is refused, still serving {revision}\n{}",
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
    seen: Option<Seen>,
}

/// A tree that may be another one than before, as far as it was read.
struct News {
    first: Option<Tree>,
}

/// Reads, loads and types a tree, off the runtime's threads. `first` is a first read of it, and `secrets` is what was
/// read of secrets before.
async fn read(
    sources: &Sources,
    first: Option<Tree>,
    machine: &Machine,
    secrets: SecretsRead,
    known: &mut Known,
) -> Result<Read, Refused> {
    let label = sources.to_string();
    let (sources, machine) = (sources.clone(), machine.clone());
    let mut files = std::mem::take(&mut known.files);
    let work = move |files: &mut Cache| {
        let tree = sources
            .read_settled_after(first, &mut std::thread::sleep)
            .map_err(|error| Refused {
                problems: error.into(),
                seen: None,
            })?;
        let fingerprint = tree.fingerprint().clone();
        let recorder = Recorder::after(&machine, &secrets);
        let candidate = Candidate::again(tree, &recorder, files);
        let seen = Seen {
            tree: fingerprint,
            secrets: recorder.finish(),
        };
        match candidate {
            Ok(candidate) => Ok(Read { candidate, seen }),
            Err(problems) => Err(Refused {
                problems,
                seen: Some(seen),
            }),
        }
    };
    let work = move || (work(&mut files), files);
    match tokio::task::spawn_blocking(work).await {
        Ok((read, files)) => {
            known.files = files;
            read
        }
        Err(error) => Err(Refused {
            problems: broke_off(label, &error),
            seen: None,
        }),
    }
}

/// What to say of work that panicked.
fn broke_off(label: String, error: &JoinError) -> Diagnostics {
    let problem = Diagnostic::error(None, format!("reading the tree broke off: {error}"));
    Diagnostics::new(label, 0, vec![problem])
}

/// Builds the next revision, off the runtime's threads: of ten thousand services that takes a while. `running` is the one
/// that is served.
async fn build_snapshot(
    read: Read,
    generation: u64,
    running: Option<Arc<Snapshot>>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
    known: &mut Known,
) -> Result<(Arc<Snapshot>, Tally), Diagnostics> {
    let label = read.candidate.tree.label().to_owned();
    let (data_directory, clock) = (data_directory.to_owned(), Arc::clone(clock));
    let mut applications = std::mem::take(&mut known.applications);
    let runtime = Handle::current();
    let work = move || {
        let candidate = read.candidate;
        let building = built(
            candidate,
            generation,
            running,
            &data_directory,
            &clock,
            &mut applications,
        );
        let built = runtime.block_on(building);
        (built, applications)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((built, applications)) => {
            known.applications = applications;
            built
        }
        Err(error) => Err(broke_off(label, &error)),
    }
}

async fn built(
    candidate: Candidate,
    generation: u64,
    running: Option<Arc<Snapshot>>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
    applications: &mut Assembly,
) -> Result<(Arc<Snapshot>, Tally), Diagnostics> {
    let Candidate { tree, set, configs } = candidate;
    let wanted = wanted(&set, configs);
    let none = BTreeMap::new();
    let running = running.as_ref().map_or(&none, |running| &running.services);
    let (services, tally) = build::services(running, wanted, data_directory, clock)
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
    let revision = Revision::new(
        generation,
        tree.digest().to_string(),
        tree.commit().map(str::to_owned),
        tree.dirty(),
        clock.now(),
    );
    let snapshot = Snapshot {
        revision,
        services,
        applications: applications.applications(&set),
        settings: settings(&set.gateway),
        documents: Documents::default(),
    };
    Ok((Arc::new(snapshot), tally))
}
