//! The composition root: starts everything, in order. Contains no decisions.

pub mod fetch;
pub mod health;
pub mod reload;
pub mod shutdown;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as channel;

use crate::clock::{self, Clock};
use crate::http::{Listener, Server};
use crate::manifest::diagnostic::Diagnostics;
use crate::manifest::secrets::Machine;
use crate::pipeline::Gateway;
use crate::pipeline::operations::Readiness;
use crate::snapshot::publish::Reader;
use crate::telemetry::metrics::Metrics;
use crate::tree::git::watched_folders;
use crate::tree::{Source, Sources};
use crate::watch::signal::Hangups;
use crate::watch::{Trigger, directory, folders, interval};
use fetch::{Around, Fetcher, Rhythm, fetchers};
use reload::Reloader;
use shutdown::Stops;

/// How long running requests may take to finish after a signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// What belongs to the host and so does not reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the manifests are.
    pub sources: Sources,
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub ops_listen: SocketAddr,
    /// The secrets of this machine.
    pub secrets: Machine,
    /// Where relative data paths start.
    pub data_directory: PathBuf,
    /// Time between two looks at the tree.
    pub poll: Duration,
    /// How often the sources that are commits are fetched; not at all without it.
    pub fetch: Option<Rhythm>,
    /// Threads that serve; as many as there are processors by default.
    pub workers: Option<usize>,
}

/// Why the daemon could not start, or could not go on.
#[derive(Debug)]
pub enum Failure {
    /// The tree has problems and there is nothing else to serve.
    Tree(Diagnostics),
    /// Something of the host: an address that is taken, a signal that cannot be caught.
    Host(String),
}

/// Serves until a signal to stop. Returns when all is closed.
pub fn run(settings: Settings) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.workers {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .thread_name("tidegate")
        .build()
        .map_err(|error| Failure::Host(format!("the runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let uncaught = |error| Failure::Host(format!("signals cannot be caught: {error}"));
    // Caught from here on, so that no signal meets a daemon that would die of it once it says that it listens.
    let stops = Stops::catch().map_err(uncaught)?;
    let hangups = Hangups::catch().map_err(uncaught)?;
    let clock = clock::system();
    let metrics = Arc::new(Metrics::default());
    let (reloader, reader) =
        Reloader::start(&settings, Arc::clone(&clock), Arc::clone(&metrics)).await?;
    let gateway = Arc::new(Gateway::new(
        reader.clone(),
        Arc::clone(&clock),
        Arc::clone(&metrics),
    ));
    let readiness = Arc::new(Readiness::default());

    let api = bind(settings.listen, "--listen")?;
    let operations = bind(settings.ops_listen, "--ops-listen")?;
    let address = |listener: &Listener| {
        listener
            .address()
            .map_or_else(|_| "?".to_owned(), |found| found.to_string())
    };
    tracing::info!(
        api = address(&api),
        operations = address(&operations),
        revision = %reader.current().revision,
        "listening"
    );

    let trigger = Trigger::default();
    let around = Around {
        clock: Arc::clone(&clock),
        metrics,
        readiness: Arc::clone(&readiness),
        trigger: trigger.clone(),
    };
    let fetchers = fetchers(&settings.sources, settings.fetch, &around);
    let mut background = background(&settings, reloader, reader, &trigger, &clock);
    let hung_up = fetchers.iter().map(Fetcher::asked).chain([trigger]);
    background.push(tokio::spawn(hangups.run(hung_up.collect())));
    background.extend(
        fetchers
            .into_iter()
            .map(|fetcher| tokio::spawn(fetcher.run())),
    );
    let (stop_api, api_stops) = channel::channel(false);
    let (stop_operations, operations_stop) = channel::channel(false);
    let api = tokio::spawn(Server::api(Arc::clone(&gateway)).run(api, api_stops, DRAIN));
    let operations = tokio::spawn(
        Server::operations(Arc::clone(&gateway), Arc::clone(&readiness)).run(
            operations,
            operations_stop,
            DRAIN,
        ),
    );

    let signal = stops.requested().await;
    tracing::info!(signal, "stopping: running requests may finish");
    readiness.drain();
    stop_api.send_replace(true);
    if !api.await.unwrap_or(false) {
        tracing::warn!(
            seconds = DRAIN.as_secs(),
            "some requests did not finish in time and were cut"
        );
    }
    stop_operations.send_replace(true);
    let _ = operations.await;
    for task in background {
        task.abort();
    }
    tracing::info!("stopped");
    Ok(())
}

fn bind(address: SocketAddr, flag: &str) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| {
        Failure::Host(format!(
            "cannot listen on {address}: {error}; choose another one with {flag}"
        ))
    })
}

/// Starts what runs beside the listeners: looking at the tree, and asking for health.
fn background(
    settings: &Settings,
    reloader: Reloader,
    reader: Reader,
    trigger: &Trigger,
    clock: &Arc<dyn Clock>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let watches = settings.sources.list().iter();
    let mut tasks: Vec<_> = watches
        .map(|source| {
            let (trigger, clock) = (trigger.clone(), Arc::clone(clock));
            match source {
                Source::Directory(folder) => {
                    tokio::spawn(directory::run(trigger, folder.clone(), clock))
                }
                Source::Git(location) => {
                    let location = location.clone();
                    let list = move || watched_folders(&location);
                    tokio::spawn(folders::run(trigger, list, clock))
                }
            }
        })
        .collect();
    tasks.extend([
        tokio::spawn(interval::run(trigger.clone(), settings.poll)),
        tokio::spawn(reloader.run(trigger.clone())),
        tokio::spawn(health::run(reader)),
    ]);
    tasks
}
