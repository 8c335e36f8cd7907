//! Trigger → tree → load → plan → build → publish → report. Half a tree is never served: any problem leaves what runs as
//! it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::provenance::is_dirty;
use super::{Failure, Settings};
use crate::clock::Clock;
use crate::manifest::secrets::Machine;
use crate::manifest::{self, Diagnostic, Diagnostics, ManifestSet, Schemas, SecretsRead};
use crate::names::ServiceName;
use crate::snapshot::assemble::{applications, settings, wanted};
use crate::snapshot::build;
use crate::snapshot::documents::Documents;
use crate::snapshot::plan::Tally;
use crate::snapshot::publish::{Attempt, Publisher, Reader};
use crate::snapshot::{Revision, Service, Snapshot};
use crate::telemetry::metrics::{Metrics, ReloadOutcome};
use crate::tree::{self, Provenance, Tree};
use crate::watch::Trigger;

/// Looks at the tree and publishes what it says.
pub struct Reloader {
    config: PathBuf,
    data_directory: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    publisher: Publisher,
    reader: Reader,
    /// The digest of the tree that is served.
    accepted: String,
    /// The digest of the last tree that was refused, so that it is reported once.
    refused: Option<String>,
    secrets: SecretsRead,
}

/// What a tree says, ready to be built.
struct Candidate {
    tree: Tree,
    dirty: Option<bool>,
    set: ManifestSet,
    configs: manifest::Configs,
}

impl Reloader {
    /// Reads the tree for the first time. Errors when it has problems: there is nothing else to serve.
    pub async fn start(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Reader), Failure> {
        let config = settings.config.clone();
        let data_directory = settings
            .data_directory
            .clone()
            .unwrap_or_else(|| config.clone());
        let candidate = read(config.clone())
            .await
            .map_err(|refused| Failure::Tree(refused.problems))?;
        warn(&candidate.set.warnings);
        let secrets = candidate.configs.secrets.clone();
        let running = BTreeMap::new();
        let (snapshot, tally) =
            build_snapshot(candidate, 1, &running, &data_directory, &clock, &metrics)
                .await
                .map_err(Failure::Tree)?;
        let accepted = snapshot.revision.digest.clone();
        let (publisher, reader) = Publisher::new(
            Arc::clone(&snapshot),
            attempt(&clock, "applied", Vec::new()),
        );
        let reloader = Self {
            config,
            data_directory,
            clock,
            metrics,
            publisher,
            reader: reader.clone(),
            accepted,
            refused: None,
            secrets,
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
        if self.is_unchanged().await {
            return;
        }
        let candidate = match read(self.config.clone()).await {
            Ok(candidate) => candidate,
            Err(Refused { problems, digest }) => return self.refuse(&problems, digest),
        };
        let digest = candidate.tree.digest().to_string();
        if digest == self.accepted && candidate.configs.secrets == self.secrets {
            return self.unchanged();
        }
        if candidate.set.is_empty() && !candidate.set.gateway.allow_empty && !self.serves_nothing()
        {
            let problem = Diagnostic::error(
                None,
                "the tree is empty, and an empty tree never replaces a full one",
            )
            .with_help("restore the manifests, or say `allow_empty = true` in a [gateway] table");
            return self.refuse(&Diagnostics::new("", 0, vec![problem]), Some(digest));
        }
        warn(&candidate.set.warnings);
        let current = self.reader.current();
        let secrets = candidate.configs.secrets.clone();
        let generation = current.revision.generation.saturating_add(1);
        let built = build_snapshot(
            candidate,
            generation,
            &current.services,
            &self.data_directory,
            &self.clock,
            &self.metrics,
        )
        .await;
        match built {
            Err(problems) => self.refuse(&problems, Some(digest)),
            Ok((snapshot, tally)) => {
                self.publisher.publish(Arc::clone(&snapshot));
                self.publisher
                    .attempted(attempt(&self.clock, "applied", Vec::new()));
                self.accepted = digest;
                self.refused = None;
                self.secrets = secrets;
                self.report_applied(&snapshot, tally);
            }
        }
    }

    /// A cheap first look: one read, one digest. A tree that is neither the served nor the refused one is read again, with
    /// care.
    async fn is_unchanged(&mut self) -> bool {
        let config = self.config.clone();
        let secrets = self.secrets.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let digest = tree::directory::read(&config)
                .ok()
                .map(|tree| tree.digest().to_string());
            (digest, secrets.have_changed(&Machine))
        })
        .await;
        let Ok((Some(digest), secrets_changed)) = looked else {
            return false;
        };
        if secrets_changed {
            return false;
        }
        if digest == self.accepted {
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
        self.metrics
            .retain_services(|service| snapshot.services.contains_key(service));
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
    /// Its digest, if it could be read at all.
    digest: Option<String>,
}

/// Reads, loads and types a tree, off the runtime's threads.
async fn read(config: PathBuf) -> Result<Candidate, Refused> {
    let label = config.display().to_string();
    let work = move || {
        let tree =
            tree::directory::read_settled(&config, &mut std::thread::sleep).map_err(|error| {
                Refused {
                    problems: error.into(),
                    digest: None,
                }
            })?;
        let refused = |problems| Refused {
            problems,
            digest: Some(tree.digest().to_string()),
        };
        let schemas = Schemas::standard();
        let set = manifest::load(&tree, schemas).map_err(refused)?;
        let configs = set.configs(&Machine, schemas).map_err(refused)?;
        let dirty = match tree.provenance() {
            Provenance {
                commit: Some(_),
                path: Some(path),
            } => is_dirty(path),
            Provenance { .. } => None,
        };
        Ok(Candidate {
            tree,
            dirty,
            set,
            configs,
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

async fn build_snapshot(
    candidate: Candidate,
    generation: u64,
    running: &BTreeMap<ServiceName, Arc<Service>>,
    data_directory: &Path,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<(Arc<Snapshot>, Tally), Diagnostics> {
    let Candidate {
        tree,
        dirty,
        set,
        configs,
    } = candidate;
    let wanted = wanted(&set, configs);
    let (services, tally) = build::services(running, wanted, data_directory, clock, metrics)
        .await
        .map_err(|error| {
            let problem = Diagnostic::error(None, error.message().to_owned());
            tracing::debug!(?error, "a service cannot be opened");
            Diagnostics::new(
                tree.label(),
                set.files(),
                vec![match error.help() {
                    Some(help) => problem.with_help(help.to_owned()),
                    None => problem,
                }],
            )
        })?;
    let revision = Revision::new(
        generation,
        tree.digest().to_string(),
        tree.provenance().commit.clone(),
        dirty,
        clock.now(),
    );
    let snapshot = Snapshot {
        revision,
        services,
        applications: applications(&set),
        settings: settings(&set.gateway),
        documents: Documents::default(),
    };
    Ok((Arc::new(snapshot), tally))
}
