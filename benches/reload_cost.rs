//! What a reload costs: the daemon's own `Reloader` over a tree of ten thousand services, set against reading and hashing
//! the same files. `benches/reload` runs it.
//!
//! `reload_cost measure ROUNDS` prints the table. `reload_cost tree FOLDER SERVICES FILES` only writes the tree.
//! `reload_cost repeat one|all|start FILES ROUNDS` does one of these again and again, for a profiler.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures: it panics where its own input is wrong, reads the clock and prints"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tidegate::clock;
use tidegate::daemon::Settings;
use tidegate::daemon::keeper::Keeper;
use tidegate::daemon::reload::{OnBadStart, Reloader};
use tidegate::manifest::secrets::Machine;
use tidegate::snapshot::publish::Reader;
use tidegate::telemetry::metrics::Metrics;
use tidegate::tree::source::QUIET_WINDOW;
use tidegate::tree::{Source, Sources};
use tidegate::watch::Trigger;

// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: usize = 10_000;
const ROLES: usize = 200;
const KEYS: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tree", folder, services, files] => write_tree(
            Path::new(folder),
            services.parse().expect("a number of services"),
            files.parse().expect("a number of files"),
        ),
        ["measure", rounds] => {
            let rounds = rounds.parse().expect("a number of rounds");
            println!(
                "{:34}{:>10}{:>8}{:>10}{:>8}",
                "", "wall ms", "ratio", "CPU ms", "ratio"
            );
            for files in [SERVICES, SERVICES / 100] {
                measure(files, rounds);
            }
        }
        ["repeat", what, files, rounds] => repeat(
            what,
            files.parse().expect("a number of files"),
            rounds.parse().expect("a number of rounds"),
        ),
        _ => println!(
            "usage: reload_cost measure ROUNDS | tree FOLDER SERVICES FILES | repeat one|all|start FILES ROUNDS"
        ),
    }
}

/// The manifest of one service; `note` goes into its description.
fn service(number: usize, note: &str) -> String {
    let config = if number.is_multiple_of(2) {
        format!(
            "database = \"tenants/tenant-{number:05}.db\"\nread_only = true\nmax_connections = 2\n"
        )
    } else {
        format!(
            "host = \"127.0.0.1\"\nport = 5499\ndatabase = \"tenant_{number:05}\"\nusername = \"gateway\"\n\
             password = {{ plain = \"of tenant {number}\" }}\nmax_connections = 4\ntls = \"off\"\n"
        )
    };
    let kind = if number.is_multiple_of(2) {
        "sqlite"
    } else {
        "pgsql"
    };
    format!(
        "# Kept by the team of region {region}.\n[service.s{number:05}]\ntype = \"{kind}\"\nlabel = \"Tenant {number}\"\n\
         description = \"Orders and invoices of tenant {number}{note}\"\n\n[service.s{number:05}.config]\n{config}\n",
        region = number % 17
    )
}

fn write_tree(folder: &Path, services: usize, files: usize) {
    for (name, text) in tree(services, files, "") {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
}

/// Names and texts: the services, and as many roles and keys as their number asks for.
fn tree(services: usize, files: usize, note: &str) -> Vec<(String, String)> {
    let mut written = Vec::new();
    let each = services.div_ceil(files.max(1)).max(1);
    for file in 0..services.div_ceil(each) {
        let mut text = String::new();
        for number in (file * each)..services.min((file + 1) * each) {
            text.push_str(&service(number, note));
        }
        written.push((format!("services/{:02}/{file:05}.toml", file % 100), text));
    }
    for file in 0..20 {
        let mut text = String::new();
        for number in (0..ROLES).skip(file * 10).take(10) {
            write!(
                text,
                "[role.r{number:03}]\ndescription = \"Team {number}{note}\"\n"
            )
            .expect("text");
            for row in 0..10 {
                let service = (number * 50 + row * 5) % services;
                write!(
                    text,
                    "[[role.r{number:03}.access]]\nservice = \"s{service:05}\"\ncomponent = \"_table/*\"\n\
                     verbs = [\"GET\", \"POST\"]\n"
                )
                .expect("text");
            }
            write!(
                text,
                "[[role.r{number:03}.access]]\nservice = \"*\"\ncomponent = \"_table/item/*\"\nverbs = [\"GET\"]\n\n"
            )
            .expect("text");
        }
        written.push((format!("roles/{file:02}.toml"), text));
    }
    for file in 0..10 {
        let mut text = String::new();
        for number in (0..KEYS).skip(file * 50).take(50) {
            let digest = Sha256::digest(format!("bench-key-{number}").as_bytes());
            let digest = digest.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("text");
                text
            });
            write!(
                text,
                "[key.k{number:03}]\nlabel = \"Application {number}{note}\"\nrole = \"r{:03}\"\nsha256 = [\"{digest}\"]\n\n",
                number % ROLES
            )
            .expect("text");
        }
        written.push((format!("keys/{file:02}.toml"), text));
    }
    written
}

/// What one thing cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// The processor time of this process so far, in all its threads that live.
fn processor_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

fn cost(work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (processor_time(), Instant::now());
    work();
    Cost {
        wall: wall.elapsed(),
        cpu: processor_time().saturating_sub(cpu),
    }
}

fn median(mut costs: Vec<Cost>) -> Cost {
    let middle = costs.len() / 2;
    costs.sort_by_key(|cost| cost.wall);
    let wall = costs.get(middle).expect("a round").wall;
    costs.sort_by_key(|cost| cost.cpu);
    let cpu = costs.get(middle).expect("a round").cpu;
    Cost { wall, cpu }
}

/// Reads all files below a folder and hashes names and bytes: the least that finding out what changed can cost.
fn read_and_hash(folder: &Path) -> [u8; 32] {
    fn walk(folder: &Path, names: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_dir() {
                walk(&entry.path(), names);
            } else {
                names.push(entry.path());
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, &mut names);
    names.sort();
    let mut hasher = Sha256::new();
    for name in names {
        let bytes = fs::read(&name).expect("a file");
        hasher.update(name.as_os_str().as_encoded_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().into()
}

struct Daemon {
    reader: Reader,
    trigger: Trigger,
    task: tokio::task::JoinHandle<()>,
}

async fn start(folder: &Path) -> Daemon {
    let settings = Settings {
        sources: Sources::new([Source::Directory(folder.to_owned())]),
        listen: "127.0.0.1:0".parse().expect("an address"),
        ops_listen: "127.0.0.1:0".parse().expect("an address"),
        secrets: Machine::default(),
        data_directory: folder.to_owned(),
        poll: Duration::from_hours(1),
        fetch: None,
        workers: None,
        state_directory: None,
        on_bad_start: OnBadStart::Fail,
        drain_delay: Duration::ZERO,
        drain: Duration::ZERO,
    };
    let metrics = Arc::new(Metrics::default());
    let keeper = Keeper::new(
        None,
        &settings.sources,
        Arc::clone(&metrics),
        Arc::default(),
    );
    let trigger = Trigger::default();
    let keeper = Arc::new(keeper);
    let start = Reloader::start(&settings, &trigger, keeper, clock::system(), metrics);
    let (reloader, reader) = start.await.expect("a good tree");
    Daemon {
        reader,
        task: tokio::spawn(reloader.run(trigger.clone())),
        trigger,
    }
}

impl Daemon {
    fn stop(self, runtime: &tokio::runtime::Runtime) {
        self.task.abort();
        // What it held is dropped by then.
        let _ = runtime.block_on(self.task);
    }

    /// Waits until another revision is served.
    async fn reload(&mut self) {
        let before = self.reader.current().revision.generation;
        self.trigger.fire();
        self.reader.replaced(before).await;
        assert!(self.reader.current().revision.generation > before);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A folder for one tree, which the caller removes.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-reload-{}", std::process::id()))
}

/// Writes the file of the tree that the round is about anew, or every file.
fn change(folder: &Path, files: usize, round: usize, all: bool) {
    let mut tree = tree(SERVICES, files, &format!(", {all} in round {round}"));
    if !all {
        tree = vec![tree.swap_remove(round % files)];
    }
    for (name, text) in tree {
        fs::write(folder.join(name), text).expect("a file");
    }
}

fn repeat(what: &str, files: usize, rounds: usize) {
    let folder = scratch();
    write_tree(&folder, SERVICES, files);
    let runtime = runtime();
    let mut daemon = runtime.block_on(start(&folder));
    for round in 0..rounds {
        if what == "start" {
            runtime.block_on(start(&folder)).stop(&runtime);
        } else {
            change(&folder, files, round, what == "all");
            runtime.block_on(daemon.reload());
        }
    }
    daemon.stop(&runtime);
    fs::remove_dir_all(&folder).expect("a folder");
}

fn measure(files: usize, rounds: usize) {
    let folder = scratch();
    write_tree(&folder, SERVICES, files);
    let runtime = runtime();
    let read = |_: usize| {
        cost(|| {
            std::hint::black_box(read_and_hash(&folder));
        })
    };
    read(0);
    let mut baseline = Vec::new();
    let mut cold = Vec::new();
    let mut one = Vec::new();
    let mut all = Vec::new();
    // The schemas of manifests are compiled once in the life of a process.
    let mut daemon = runtime.block_on(start(&folder));
    for round in 0..rounds {
        baseline.push(read(round));
        cold.push(cost(|| {
            runtime.block_on(start(&folder)).stop(&runtime);
        }));
        baseline.push(read(round));
        change(&folder, files, round, false);
        one.push(cost(|| runtime.block_on(daemon.reload())));
        baseline.push(read(round));
        change(&folder, files, round, true);
        all.push(cost(|| runtime.block_on(daemon.reload())));
    }
    daemon.stop(&runtime);
    fs::remove_dir_all(&folder).expect("a folder");
    let baseline = median(baseline);
    println!("{SERVICES} services in {files} files");
    for (title, costs) in [
        ("reading and hashing", vec![baseline]),
        ("reload, one file changed", one),
        ("reload, all files changed", all),
        ("start", cold),
    ] {
        let cost = median(costs);
        let waits = if title == "reading and hashing" {
            Duration::ZERO
        } else {
            QUIET_WINDOW
        };
        let wall = cost.wall.saturating_sub(waits);
        println!(
            "  {title:32}{:10.1}{:8.2}{:10.1}{:8.2}",
            wall.as_secs_f64() * 1e3,
            wall.as_secs_f64() / baseline.wall.as_secs_f64(),
            cost.cpu.as_secs_f64() * 1e3,
            cost.cpu.as_secs_f64() / baseline.cpu.as_secs_f64()
        );
    }
}
