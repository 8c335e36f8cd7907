//! The composition root: starts everything, in order. Contains no decisions.

pub mod fetch;
pub mod health;
pub mod keeper;
pub mod reload;
pub mod shutdown;
pub mod sockets;
pub mod systemd;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use crate::clock::{self, Clock};
use crate::http::{Listener, Server};
use crate::manifest::diagnostic::Diagnostics;
use crate::manifest::secrets::Machine;
use crate::pipeline::Gateway;
use crate::pipeline::operations::Readiness;
use crate::snapshot::publish::Reader;
use crate::telemetry::metrics::Metrics;
use crate::tree::git::watched_folders;
use crate::tree::{self, Source, Sources};
use crate::watch::directory::Watcher;
use crate::watch::signal::Hangups;
use crate::watch::{Trigger, folders, interval};
use fetch::{Around, Fetcher, Rhythm, fetchers};
use keeper::Keeper;
use reload::{OnBadStart, Reloader};
use shutdown::Stops;
use sockets::Inherited;
use systemd::{Life, Notifier};

/// How long answers of the operations listener may take to finish, once the API is closed.
const OPERATIONS_DRAIN: Duration = Duration::from_secs(2);

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
    /// Where the last good tree is kept; none keeps none.
    pub state_directory: Option<PathBuf>,
    /// What to do at a start on a tree that cannot be served.
    pub on_bad_start: OnBadStart,
    /// Time between not being ready any more and accepting no more.
    pub drain_delay: Duration,
    /// How long running requests may take to finish, once nothing is accepted any more.
    pub drain: Duration,
}

/// Why the daemon could not start, or could not go on.
#[derive(Debug)]
pub enum Failure {
    /// The tree has problems and there is nothing else to serve.
    Tree(Diagnostics),
    /// The tree has problems, and so has the last good one.
    BothTrees {
        /// What is wrong with the tree.
        tree: Diagnostics,
        /// What is wrong with the last good one.
        last_good: Diagnostics,
    },
    /// Something of the host: an address that is taken, a signal that cannot be caught.
    Host(String),
}

/// Serves until a signal to stop. Returns when all is closed.
pub fn run(settings: Settings) -> Result<(), Failure> {
    // Before there are threads: it changes the environment.
    let inherited = Inherited::take().map_err(Failure::Host)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.workers {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .thread_name("tidegate")
        .build()
        .map_err(|error| Failure::Host(format!("the runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(serve(settings, inherited));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(settings: Settings, inherited: Inherited) -> Result<(), Failure> {
    let uncaught = |error| Failure::Host(format!("signals cannot be caught: {error}"));
    // Caught from here on, so that no signal meets a daemon that would die of it once it says that it listens.
    let mut stops = Stops::catch().map_err(uncaught)?;
    let hangups = Hangups::catch().map_err(uncaught)?;
    let notifier = Notifier::from_environment();
    let clock = clock::system();
    let metrics = Arc::new(Metrics::default());
    // Watched from before the first read on, so that no change is missed in between.
    let trigger = Trigger::default();
    let watchers = watch(&settings, &trigger, &clock).await;
    let readiness = Arc::new(Readiness::default());
    let keeper = Arc::new(Keeper::new(
        settings.state_directory.clone(),
        &settings.sources,
        Arc::clone(&metrics),
        Arc::clone(&readiness),
    ));
    let start = notifier.extending(Reloader::start(
        &settings,
        &trigger,
        Arc::clone(&keeper),
        Arc::clone(&clock),
        Arc::clone(&metrics),
    ));
    let (reloader, reader) = tokio::select! {
        started = start => started.ok_or_else(|| {
            Failure::Host("reading the tree takes too long".to_owned())
        })??,
        signal = stops.requested() => {
            tracing::info!(signal, "stopped before anything was served");
            return Ok(());
        }
    };
    let gateway = Arc::new(Gateway::new(
        reader.clone(),
        Arc::clone(&clock),
        Arc::clone(&metrics),
    ));

    let api = listen(inherited.api, settings.listen, "--listen")?;
    let operations = listen(inherited.operations, settings.ops_listen, "--ops-listen")?;
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

    let looks = reloader.looks();
    let around = Around {
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        readiness: Arc::clone(&readiness),
        trigger: trigger.clone(),
    };
    let fetchers = fetchers(&settings.sources, settings.fetch, &around);
    let mut background = background(&settings, reloader, &reader, &trigger);
    background.extend(watchers);
    let asked: Vec<Trigger> = fetchers
        .iter()
        .map(Fetcher::asked)
        .chain([trigger])
        .collect();
    background.extend(
        fetchers
            .into_iter()
            .map(|fetcher| tokio::spawn(fetcher.run())),
    );
    let (stop_api, api_stops) = channel::channel(false);
    let (stop_operations, operations_stop) = channel::channel(false);
    let api_server = Server::api(Arc::clone(&gateway), Arc::clone(&readiness));
    let operations_server = Server::operations(Arc::clone(&gateway), Arc::clone(&readiness));
    let pulses = vec![api_server.pulse(), operations_server.pulse()];
    let mut api = tokio::spawn(api_server.run(api, api_stops, settings.drain));
    let operations =
        tokio::spawn(operations_server.run(operations, operations_stop, OPERATIONS_DRAIN));
    background.push(tokio::spawn(keeper.run()));
    if let Some(period) = systemd::watchdog_period() {
        let life = Life {
            servers: pulses,
            looks: looks.clone(),
            readiness: Arc::clone(&readiness),
        };
        let feeding = systemd::feed_watchdog(notifier.clone(), period, life, Arc::clone(&clock));
        background.push(tokio::spawn(feeding));
    }
    systemd::ready(&notifier, &reader).await;
    let status = tokio::spawn(systemd::show_status(notifier.clone(), reader.clone()));
    let hangups = systemd::reload_on_hangup(notifier.clone(), hangups, asked, looks, reader);
    let hangups = tokio::spawn(hangups);

    let signal = stops.requested().await;
    tracing::info!(signal, "stopping: running requests may finish");
    readiness.drain();
    // From here on the status line says how it ends.
    status.abort();
    hangups.abort();
    notifier
        .stopping(settings.drain_delay + settings.drain)
        .await;
    let drained = async {
        tokio::time::sleep(settings.drain_delay).await;
        stop_api.send_replace(true);
        if !(&mut api).await.unwrap_or(false) {
            tracing::warn!(
                seconds = settings.drain.as_secs(),
                "some requests did not finish in time and were cut"
            );
        }
        stop_operations.send_replace(true);
        let _ = operations.await;
    };
    let outcome = tokio::select! {
        () = drained => Ok(()),
        signal = stops.requested() => {
            let cut = match metrics.connections.load(Ordering::Relaxed) {
                1 => "1 connection was cut".to_owned(),
                count => format!("{count} connections were cut"),
            };
            Err(Failure::Host(format!("a second {signal}: {cut}")))
        }
    };
    for task in background {
        task.abort();
    }
    tracing::info!("stopped");
    outcome
}

/// The listener that was handed over, or one of our own.
fn listen(
    inherited: Option<TcpListener>,
    address: SocketAddr,
    flag: &str,
) -> Result<Listener, Failure> {
    match inherited {
        Some(listener) => Listener::inherit(listener).map_err(|error| {
            Failure::Host(format!(
                "a listening socket that was handed over cannot be used: {error}"
            ))
        }),
        None => bind(address, flag),
    }
}

fn bind(address: SocketAddr, flag: &str) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| {
        Failure::Host(format!(
            "cannot listen on {address}: {error}; choose another one with {flag}"
        ))
    })
}

/// Watches the sources, and fires the trigger after changes.
async fn watch(
    settings: &Settings,
    trigger: &Trigger,
    clock: &Arc<dyn Clock>,
) -> Vec<JoinHandle<()>> {
    let mut watchers = Vec::new();
    for source in settings.sources.list() {
        let (trigger, clock) = (trigger.clone(), Arc::clone(clock));
        watchers.push(match source {
            Source::Directory(folder) => {
                let counts = tree::directory::counts;
                let watcher = Watcher::begin(trigger, folder.clone(), counts, clock).await;
                tokio::spawn(watcher.run())
            }
            Source::Git(location) => {
                let location = location.clone();
                let list = move || watched_folders(&location);
                tokio::spawn(folders::run(trigger, list, clock))
            }
            // Nobody serves it; a look every so often would find a new one.
            Source::State(_) => continue,
        });
    }
    watchers
}

/// Starts what runs beside the listeners: looking at the tree, and asking for health.
fn background(
    settings: &Settings,
    reloader: Reloader,
    reader: &Reader,
    trigger: &Trigger,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(interval::run(trigger.clone(), settings.poll)),
        tokio::spawn(reloader.run(trigger.clone())),
        tokio::spawn(health::run(reader.clone())),
    ]
}
