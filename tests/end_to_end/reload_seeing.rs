//! Is every change of the tree seen, and seen whole, however it is made? One test for each way in which other projects
//! have failed at it, A1 to A19 (section "What a reload survives" of the README).
//!
//! With `--poll-seconds 3600` a change can only have been seen by an event, and where events are impossible only by a
//! look of the clock.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::{Start, binary, signal};
use crate::support::git::git;
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::watched::{ConfigMap, GitSync, commit, point, run};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";
/// No look in a test comes from the clock.
const NEVER: u32 = 3600;
/// Longer than the tree must be quiet.
const LONGER_THAN_QUIET: Duration = Duration::from_millis(300);

/// A directory with the database of the shop and the people, but no service.
fn people() -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    directory.write("people.toml", sample::people());
    directory
}

/// Files with the people and a service of each name.
fn files(names: &[String]) -> Vec<(String, String)> {
    let services = names
        .iter()
        .map(|name| (format!("{name}.toml"), sqlite_service(name, "shop.db")));
    [("people.toml".to_owned(), sample::people())]
        .into_iter()
        .chain(services)
        .collect()
}

/// The names of ten services of one generation: `g7-0` to `g7-9`.
fn generation(number: usize) -> Vec<String> {
    (0..10).map(|index| format!("g{number}-{index}")).collect()
}

fn watched(tree: &Path, data: &Path) -> TestGateway {
    Start::new(tree, data).poll_seconds(NEVER).start()
}

fn services(status: &Value) -> Vec<String> {
    let services = status["services"].as_array().unwrap().iter();
    services
        .map(|service| service["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until exactly these services are served.
fn expect_services(gateway: &TestGateway, names: &[impl AsRef<str>]) {
    let mut expected: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    expected.sort_unstable();
    eventually(&format!("the services {expected:?}"), 30, || {
        (services(&gateway.status()) == expected).then_some(())
    });
}

/// Does `work` while the status page is looked at all the time.
fn while_looking<T>(
    gateway: &TestGateway,
    look: impl Fn(&Value) + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                look(&gateway.status());
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let result = work();
        is_done.store(true, Ordering::SeqCst);
        looking.join().expect("every look was good");
        result
    })
}

/// The services must all be of one generation, and all of it.
fn is_one_generation(status: &Value) {
    let names = services(status);
    let first = names[0].split('-').next().unwrap();
    let is_whole = names.len() == 10 && names.iter().all(|name| name.starts_with(first));
    assert!(is_whole, "generations are mixed: {names:?}");
}

fn looks(gateway: &TestGateway) -> u64 {
    let outcomes = ["applied", "refused", "unchanged"].into_iter();
    outcomes.map(|outcome| gateway.looks(outcome)).sum()
}

/// The start that runs the gateway with mounts of its own, made by a script before.
fn with_mounts(start: Start, script: &str) -> Start {
    // Whoever is not the superuser may still be one among mounts of his own.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let flags = if is_root { "-m" } else { "-Urm" };
    let script = format!("{script}\nexec \"$@\"");
    start.through("unshare", &[flags, "sh", "-ec", &script, "sh"])
}

/// The start that gives the gateway limits of inotify of its own: `max_inotify_instances` or `max_inotify_watches`.
fn with_limit(start: Start, name: &str, limit: u32) -> Start {
    let script = format!("echo {limit} > /proc/sys/user/{name}\nexec \"$@\"");
    start.through("unshare", &["-Ur", "sh", "-ec", &script, "sh"])
}

/// Raises such a limit from outside.
fn raise_limit(gateway: &TestGateway, name: &str) {
    let target = format!("--target={}", gateway.pid());
    let script = format!("echo 1000 > /proc/sys/user/{name}");
    run(
        "nsenter",
        &[
            "--user",
            "--preserve-credentials",
            &target,
            "sh",
            "-ec",
            &script,
        ],
    );
}

#[test]
fn a01_an_empty_or_half_written_file_is_never_served() {
    let directory = people();
    let text = |label: &str| {
        ["shop", "second", "third"].map(|name| {
            sqlite_service(name, "shop.db").replace("label = \"", &format!("label = \"{label} "))
        })
    };
    directory.write("all.toml", text("before").concat());
    // Looks come from the clock and from SIGHUP too, and at any moment.
    let gateway = Start::new(&directory.tree(), &directory.data())
        .poll_seconds(1)
        .start();
    let client = gateway.client_with(READER);
    let after = text("after");
    let (head, tail) = after[0].split_at(20);
    // Some parts end in the middle of a table, and some where what stands there would be a manifest.
    let parts = [head, tail, &after[1], &after[2]];
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                for name in ["shop", "second", "third"] {
                    client.get(&format!("/api/v2/{name}/_table")).expect_ok();
                }
                signal(gateway.pid(), "HUP");
            }
        });
        directory.write_slowly("all.toml", &parts, LONGER_THAN_QUIET);
        // Another manifest may change at the same time: its look does not take the half file along.
        directory.write("other.toml", sqlite_service("other", "shop.db"));
        directory.write_slowly("all.toml", &parts, LONGER_THAN_QUIET);
        expect_services(&gateway, &["other", "second", "shop", "third"]);
        is_done.store(true, Ordering::SeqCst);
    });
    assert_eq!(gateway.status()["last_attempt"]["outcome"], "applied");
    // No look met half a file: nothing was refused either.
    gateway.stop();
}

#[test]
fn a01b_an_empty_file_is_refused_where_nothing_tells_of_its_writer() {
    let directory = sample::shop();
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let gateway = with_limit(start, "max_inotify_instances", 0).start();
    gateway.claim("cannot be watched");
    gateway.claim("shop.toml: the file is empty");
    let client = gateway.client_with(READER);
    let file = File::create(directory.tree().join("shop.toml")).unwrap();
    let attempt = gateway.wait_for_refusal();
    assert!(attempt.to_string().contains("shop.toml"), "{attempt}");
    client.get(CUSTOMER).expect_ok();
    drop(file);
    directory.write_in_place("shop.toml", sqlite_service("market", "shop.db"));
    expect_services(&gateway, &["market"]);
    gateway.stop();
}

#[test]
fn a02_edits_in_place_and_copies_over_a_file_are_noticed() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    let path = directory.tree().join("shop.toml");
    let inode = fs::metadata(&path).unwrap().ino();
    for round in 0..3 {
        let name = format!("edited{round}");
        directory.write_in_place("shop.toml", sqlite_service(&name, "shop.db"));
        expect_services(&gateway, &[&name]);

        let name = format!("copied{round}");
        let source = directory.base().join("copy");
        fs::write(&source, sqlite_service(&name, "shop.db")).unwrap();
        run("cp", &[source.to_str().unwrap(), path.to_str().unwrap()]);
        expect_services(&gateway, &[&name]);
    }
    // More at the end of it.
    let mut file = File::options().append(true).open(&path).unwrap();
    let more = sqlite_service("appended", "shop.db");
    file.write_all(more.as_bytes()).unwrap();
    drop(file);
    expect_services(&gateway, &["appended", "copied2"]);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was replaced");
    gateway.stop();
}

#[test]
fn a03_a_config_map_that_is_flipped_is_noticed_each_time() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let mut map = ConfigMap::new(directory.tree());
    map.write(&files(&generation(0)));
    let gateway = watched(&directory.tree(), &directory.data());
    // The folder that was read, and that is watched, is gone each time.
    for number in 1..=6 {
        let names = generation(number);
        map.write(&files(&names));
        expect_services(&gateway, &names);
    }
    gateway.stop();
}

#[test]
fn a03b_a_link_of_git_sync_that_is_flipped_is_noticed_each_time() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let repository = GitSync::new(directory.base().join("repository"));
    repository.publish(&files(&generation(0)));
    // The link is not the last part of the path.
    let gateway = watched(&repository.link().join("gateway.d"), &directory.data());
    for number in 1..=4 {
        let names = generation(number);
        let hash = repository.publish(&files(&names));
        expect_services(&gateway, &names);
        let status = gateway.status();
        assert_eq!(status["commit"], hash.as_str());
        assert_eq!(status["dirty"], false);
    }
    gateway.stop();
}

#[test]
fn a03c_links_of_ones_own_are_noticed_wherever_they_lead_through() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let tree = directory.tree();
    for number in 0..4 {
        for (name, text) in files(&generation(number)) {
            directory.write(&format!(".store/v{number}/{name}"), text);
        }
    }
    point(&tree.join(".store/live"), "v0");
    point(&tree.join("services"), ".store/live");
    // And the tree itself is reached by a link to a link.
    let base = directory.base();
    symlink(&tree, base.join("second")).unwrap();
    symlink("second", base.join("first")).unwrap();
    let gateway = watched(&base.join("first"), &directory.data());
    point(&tree.join(".store/live"), "v1");
    expect_services(&gateway, &generation(1));
    point(&tree.join("services"), ".store/v2");
    expect_services(&gateway, &generation(2));
    fs::write(
        tree.join(".store/v2/g2-0.toml"),
        sqlite_service("edited", "shop.db"),
    )
    .unwrap();
    let mut names = generation(2);
    names[0] = "edited".to_owned();
    expect_services(&gateway, &names);
    // The link in the middle.
    let other = base.join("other");
    for (name, text) in files(&generation(3)) {
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join(name), text).unwrap();
    }
    point(&base.join("second"), &other);
    expect_services(&gateway, &generation(3));
    gateway.stop();
}

/// The same files for every generation, but that the last two services share one in every second generation: a file
/// comes and goes.
fn files_of_equal_names(number: usize) -> Vec<(String, String)> {
    let mut files = files(&generation(number));
    for (name, _) in &mut files {
        *name = name.replace(&format!("g{number}-"), "g-");
    }
    if number.is_multiple_of(2) {
        let (_, last) = files.pop().unwrap();
        files.last_mut().unwrap().1.push_str(&last);
    }
    files
}

#[test]
fn a04_mixed_generations_are_never_served() {
    const FLIPS: usize = 30;
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let mut map = ConfigMap::new(directory.tree());
    map.write(&files_of_equal_names(0));
    let gateway = watched(&directory.tree(), &directory.data());
    gateway.claim("keep changing");
    let mut step = 0;
    while_looking(&gateway, is_one_generation, || {
        for number in 1..=FLIPS {
            map.write_with(&files_of_equal_names(number), &mut || {
                step += 1;
                // Most steps follow at once, and some after more time than the tree must be quiet.
                let pause = match number {
                    5 | 6 => LONGER_THAN_QUIET,
                    _ => Duration::from_millis(step * 7 % 11),
                };
                std::thread::sleep(pause);
                gateway.signal("HUP");
            });
        }
        expect_services(&gateway, &generation(FLIPS));
    });
    assert!(gateway.looks("applied") > 2, "it never looked in between");
    gateway.stop();
}

#[test]
fn a04b_mixed_generations_of_work_trees_are_never_served() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let repository = GitSync::new(directory.base().join("repository"));
    repository.publish(&files(&generation(0)));
    let gateway = watched(&repository.link().join("gateway.d"), &directory.data());
    gateway.claim("keep changing");
    while_looking(&gateway, is_one_generation, || {
        for number in 1..=8 {
            repository.publish(&files(&generation(number)));
        }
        expect_services(&gateway, &generation(8));
    });
    gateway.stop();
}

#[test]
fn a05_hidden_folders_are_not_loaded_a_second_time() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let mut map = ConfigMap::new(directory.tree());
    map.write(&files(&generation(0)));
    map.write(&files(&generation(1)));
    // A writer that was killed leaves its folder behind.
    let left = directory.tree().join("..2026_07_01_11_00_00.9");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("g1-0.toml"), sqlite_service("g1-0", "shop.db")).unwrap();
    let gateway = watched(&directory.tree(), &directory.data());
    assert_eq!(services(&gateway.status()), generation(1));
    let tree = directory.tree();
    let binary = binary();
    let checked = run(binary.to_str().unwrap(), &["check", tree.to_str().unwrap()]);
    assert_eq!(checked, "no problems in 11 files");
    gateway.stop();
}

/// A repository with two branches, `one` and `two`, of many manifests each, whose checkout takes its time: a filter
/// slows every file down while git holds its lock.
fn slow_repository(folder: &Path) -> (String, String) {
    fs::create_dir_all(folder.join("gateway.d")).unwrap();
    git(folder, &["init", "--quiet"]);
    let mut commits = Vec::new();
    for (number, branch) in [(1, "one"), (2, "two")] {
        git(folder, &["checkout", "--quiet", "-B", branch]);
        fs::write(
            folder.join(".gitattributes"),
            "gateway.d/g*.toml filter=slow\n",
        )
        .unwrap();
        for (name, text) in files(&generation(number)) {
            // The same names in both: every file is rewritten.
            let name = name.replace(&format!("g{number}-"), "g-");
            let padding = "# padding\n".repeat(500);
            fs::write(folder.join("gateway.d").join(name), text + &padding).unwrap();
        }
        commits.push(commit(folder, branch));
    }
    slow_down(folder);
    (commits.remove(0), commits.remove(0))
}

fn slow_down(folder: &Path) {
    git(folder, &["config", "filter.slow.smudge", "sleep 0.05; cat"]);
    git(folder, &["config", "filter.slow.clean", "cat"]);
}

#[test]
fn a06_a_git_checkout_or_pull_in_the_watched_tree_is_never_half_seen() {
    let directory = people();
    let origin = directory.base().join("origin");
    let (one, two) = slow_repository(&origin);
    let clone = directory.base().join("clone");
    run(
        "git",
        &[
            "clone",
            "--quiet",
            origin.to_str().unwrap(),
            clone.to_str().unwrap(),
        ],
    );
    slow_down(&clone);
    let gateway = watched(&clone.join("gateway.d"), &directory.data());
    assert_eq!(services(&gateway.status()), generation(2));
    let lock = clone.join(".git/index.lock");
    while_looking(&gateway, is_one_generation, || {
        git(&clone, &["checkout", "--quiet", "--detach", &one]);
        expect_services(&gateway, &generation(1));
        assert_eq!(gateway.status()["commit"], one.as_str());

        git(&clone, &["checkout", "--quiet", "two"]);
        expect_services(&gateway, &generation(2));
        assert_eq!(gateway.status()["commit"], two.as_str());

        // A pull that brings a commit.
        for (name, text) in files(&generation(3)) {
            let name = name.replace("g3-", "g-");
            fs::write(origin.join("gateway.d").join(name), text).unwrap();
        }
        let three = commit(&origin, "three");
        git(&clone, &["pull", "--quiet", "--ff-only"]);
        expect_services(&gateway, &generation(3));
        assert_eq!(gateway.status()["commit"], three.as_str());

        // A lock that is held while files are half written, as long as it takes.
        fs::write(&lock, "").unwrap();
        for (name, text) in files(&generation(4)) {
            let name = name.replace("g4-", "g-");
            std::thread::sleep(LONGER_THAN_QUIET / 2);
            fs::write(clone.join("gateway.d").join(name), text).unwrap();
        }
        fs::remove_file(&lock).unwrap();
        expect_services(&gateway, &generation(4));
    });
    gateway.stop();
}

#[test]
fn a07_a_link_that_leads_nowhere_is_neither_skipped_nor_the_end() {
    for name in ["late.toml", "late"] {
        let directory = sample::shop();
        let gateway = watched(&directory.tree(), &directory.data());
        gateway.claim("leads nowhere");
        let client = gateway.client_with(READER);
        let link = directory.tree().join(name);
        symlink(Path::new(".store").join(name), &link).unwrap();
        // Beside it a change that is good alone.
        directory.write("second.toml", sqlite_service("second", "shop.db"));
        let attempt = gateway.wait_for_refusal();
        let problem = attempt["problems"][0].to_string();
        assert!(problem.contains(name), "{attempt}");
        assert!(problem.contains("leads nowhere"), "{attempt}");
        client.get(CUSTOMER).expect_ok();

        // What it leads to comes.
        let store = directory.tree().join(".store");
        fs::create_dir(&store).unwrap();
        let manifest = if name == "late" {
            fs::create_dir(store.join(name)).unwrap();
            store.join(name).join("late.toml")
        } else {
            store.join(name)
        };
        fs::write(manifest, sqlite_service("late", "shop.db")).unwrap();
        expect_services(&gateway, &["late", "second", "shop"]);
        gateway.stop();
    }
}

#[test]
fn a08_a_single_file_that_is_bind_mounted_is_followed_in_place() {
    let directory = sample::shop();
    let source = directory.base().join("source.toml");
    fs::write(&source, sqlite_service("before", "shop.db")).unwrap();
    let target = directory.tree().join("shop.toml");
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let script = format!("mount --bind '{}' '{}'", source.display(), target.display());
    let gateway = with_mounts(start, &script).start();
    assert_eq!(services(&gateway.status()), ["before"]);
    for round in 0..2 {
        // Events of this write belong to the source's folder, which nobody watches.
        let name = format!("after{round}");
        fs::write(&source, sqlite_service(&name, "shop.db")).unwrap();
        expect_services(&gateway, &[&name]);
    }
    gateway.stop();
}

#[test]
fn a09_changes_are_found_where_the_file_system_tells_of_none() {
    let directory = people();
    let base = directory.base();
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(base.join(folder)).unwrap();
    }
    let lower = base.join("lower");
    let write = |name: &str| {
        fs::write(lower.join("service.toml"), sqlite_service(name, "shop.db")).unwrap();
    };
    fs::write(lower.join("people.toml"), sample::people()).unwrap();
    write("shop");
    // An overlay tells nothing of what is written into its lower layer, as NFS tells nothing of other machines.
    let script = format!(
        "mount -t overlay overlay -o lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work {0}/tree",
        base.display()
    );
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let gateway = with_mounts(start, &script).start();
    assert_eq!(services(&gateway.status()), ["shop"]);
    let before = looks(&gateway);
    for name in ["market", "store"] {
        write(name);
        expect_services(&gateway, &[name]);
    }
    assert!(looks(&gateway) > before);
    gateway.stop();
}

#[test]
fn a10_a_queue_of_events_that_overflows_loses_no_change() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let room: usize = text.trim().parse().unwrap();
    // While it stands still, more events than there is room for; each renaming is two.
    gateway.signal("STOP");
    let tree = directory.tree();
    let names = [tree.join("a.txt"), tree.join("b.txt")];
    fs::write(&names[0], "").unwrap();
    for round in 0..room / 2 + 100 {
        fs::rename(&names[round % 2], &names[(round + 1) % 2]).unwrap();
    }
    // Of these nobody is told.
    fs::create_dir_all(tree.join("new/folder")).unwrap();
    let late = tree.join("new/folder/late.toml");
    fs::write(&late, sqlite_service("late", "shop.db")).unwrap();
    gateway.signal("CONT");
    expect_services(&gateway, &["late", "shop"]);
    // And the new folders are watched.
    fs::write(&late, sqlite_service("later", "shop.db")).unwrap();
    expect_services(&gateway, &["later", "shop"]);
    gateway.stop();
}

#[test]
fn a11_changes_are_found_when_watches_run_out_and_it_is_said_once() {
    let directory = sample::shop();
    for number in 0..30 {
        let name = format!("f{number}/s{number}.toml");
        directory.write(&name, sqlite_service(&format!("s{number}"), "shop.db"));
    }
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let gateway = with_limit(start, "max_inotify_watches", 12).start();
    gateway.claim("cannot be watched");
    let last = directory.tree().join("f29/s29.toml");
    for name in ["polled", "again"] {
        fs::write(&last, sqlite_service(name, "shop.db")).unwrap();
        eventually("a change where no watch is", 30, || {
            services(&gateway.status())
                .contains(&name.to_owned())
                .then_some(())
        });
    }
    // More tries do not mean more complaints.
    eventually("some more looks", 30, || {
        (gateway.looks("unchanged") > 4).then_some(())
    });
    let complaints = gateway.log().matches("cannot be watched").count();
    assert_eq!(complaints, 1, "{}", gateway.log());
    assert!(gateway.log().contains("max_user_watches"));
    raise_limit(&gateway, "max_inotify_watches");
    eventually("the watches", 60, || {
        gateway.log().contains("watched again").then_some(())
    });
    gateway.stop();
}

#[test]
fn a11b_changes_are_found_without_inotify_and_watches_come_when_they_can() {
    let directory = sample::shop();
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let gateway = with_limit(start, "max_inotify_instances", 0).start();
    gateway.claim("cannot be watched");
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    expect_services(&gateway, &["second", "shop"]);
    raise_limit(&gateway, "max_inotify_instances");
    eventually("the watches", 60, || {
        gateway.log().contains("watched again").then_some(())
    });
    assert_eq!(gateway.log().matches("cannot be watched").count(), 1);
    gateway.stop();
}

#[test]
fn a11c_a_tree_that_cannot_be_read_for_want_of_files_is_read_later() {
    let directory = sample::shop();
    let gateway = Start::new(&directory.tree(), &directory.data())
        .poll_seconds(1)
        .start();
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    gateway.claim("Too many open files");
    gateway.claim("cannot be watched");
    let pid = format!("--pid={}", gateway.pid());
    // Fewer than are open already: nothing can be opened.
    run("prlimit", &[&pid, "--nofile=3:"]);
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    eventually("a refusal in the log", 30, || {
        gateway.log().contains("Too many open files").then_some(())
    });
    run("prlimit", &[&pid, "--nofile=1024:"]);
    expect_services(&gateway, &["second", "shop"]);
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn a12_the_watch_outlives_bad_files_and_sees_every_later_change() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    gateway.claim("the tree is refused");
    for round in 0..5 {
        directory.write_in_place("more.toml", "[service.broken\n");
        gateway.wait_for_refusal();
        let name = format!("more{round}");
        directory.write_in_place("more.toml", sqlite_service(&name, "shop.db"));
        expect_services(&gateway, &[name.as_str(), "shop"]);
        // Once it cannot even be read.
        fs::remove_file(directory.tree().join("more.toml")).unwrap();
        symlink("nowhere", directory.tree().join("more.toml")).unwrap();
        gateway.wait_for_refusal();
        fs::remove_file(directory.tree().join("more.toml")).unwrap();
        eventually("the tree as it was", 30, || {
            (gateway.status()["degraded"] == false).then_some(())
        });
        expect_services(&gateway, &["shop"]);
    }
    gateway.stop();
}

#[test]
fn a13_new_folders_are_loaded_and_watched_however_deep() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    let tree = directory.tree();
    // Made and filled at once.
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    let deep = tree.join("a/b/c/deep.toml");
    fs::write(&deep, sqlite_service("deep", "shop.db")).unwrap();
    expect_services(&gateway, &["deep", "shop"]);
    fs::write(&deep, sqlite_service("deeper", "shop.db")).unwrap();
    expect_services(&gateway, &["deeper", "shop"]);
    // Made now and filled later.
    fs::create_dir_all(tree.join("a/b/c/d/e")).unwrap();
    std::thread::sleep(LONGER_THAN_QUIET);
    fs::write(
        tree.join("a/b/c/d/e/last.toml"),
        sqlite_service("last", "shop.db"),
    )
    .unwrap();
    expect_services(&gateway, &["deeper", "last", "shop"]);
    // Moved in, and then away within the tree.
    let outside = directory.base().join("outside");
    fs::create_dir_all(outside.join("x/y")).unwrap();
    fs::write(
        outside.join("x/y/moved.toml"),
        sqlite_service("moved", "shop.db"),
    )
    .unwrap();
    fs::rename(&outside, tree.join("in")).unwrap();
    expect_services(&gateway, &["deeper", "last", "moved", "shop"]);
    fs::rename(tree.join("in"), tree.join("a/b/in")).unwrap();
    std::thread::sleep(LONGER_THAN_QUIET);
    fs::write(
        tree.join("a/b/in/x/y/moved.toml"),
        sqlite_service("edited", "shop.db"),
    )
    .unwrap();
    expect_services(&gateway, &["deeper", "edited", "last", "shop"]);
    // And gone.
    fs::remove_dir_all(tree.join("a")).unwrap();
    expect_services(&gateway, &["shop"]);
    gateway.stop();
}

#[test]
fn a14_a_second_write_in_the_same_second_and_of_the_same_size_is_seen() {
    let directory = sample::shop();
    // Nothing but the clock makes it look, so that it cannot know of the second write from an event.
    let start = Start::new(&directory.tree(), &directory.data()).poll_seconds(1);
    let gateway = with_limit(start, "max_inotify_instances", 0).start();
    gateway.claim("cannot be watched");
    let path = directory.tree().join("shop.toml");
    directory.write_in_place("shop.toml", sqlite_service("one", "shop.db"));
    let first = fs::metadata(&path).unwrap();
    expect_services(&gateway, &["one"]);
    for name in ["two", "six"] {
        directory.write_in_place("shop.toml", sqlite_service(name, "shop.db"));
        let times = FileTimes::new()
            .set_accessed(first.accessed().unwrap())
            .set_modified(first.modified().unwrap());
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(times).unwrap();
        let now = fs::metadata(&path).unwrap();
        assert_eq!(
            (now.len(), now.ino(), now.modified().unwrap()),
            (first.len(), first.ino(), first.modified().unwrap())
        );
        expect_services(&gateway, &[name]);
    }
    gateway.stop();
}

#[test]
fn a15_nothing_is_reloaded_while_no_content_changes() {
    let directory = WatchedDirectory::new();
    sample::create_shop(&directory.data().join("shop.db"));
    let mut map = ConfigMap::new(directory.tree().join("map"));
    let map_files: Vec<_> = files(&generation(0));
    map.write(&map_files);
    directory.write("shop.toml", sqlite_service("shop", "shop.db"));
    let gateway = Start::new(&directory.tree(), &directory.data())
        .poll_seconds(1)
        .start();
    let digest = gateway.status()["digest"].clone();
    let path = directory.tree().join("shop.toml");
    let text = fs::read_to_string(&path).unwrap();
    for round in 0..30 {
        match round % 5 {
            // The time of the last change, and of the last change of that.
            0 => run("touch", &[path.to_str().unwrap()]).clear(),
            1 => fs::set_permissions(&path, fs::Permissions::from_mode(0o640 + round / 5 % 2 * 4))
                .unwrap(),
            // The same bytes.
            2 => directory.write_in_place("shop.toml", &text),
            3 => directory.write("shop.toml", &text),
            _ => map.write(&map_files),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    eventually("a look at the end of it", 30, || {
        let before = looks(&gateway);
        eventually("one more look", 30, || {
            (looks(&gateway) > before).then_some(())
        });
        Some(())
    });
    let status = gateway.status();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["digest"], digest);
    assert_eq!(gateway.looks("applied"), 1);
    assert_eq!(gateway.looks("refused"), 0);
    gateway.stop();
}

#[test]
fn a15b_its_own_reading_makes_it_look_no_further() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    expect_services(&gateway, &["second", "shop"]);
    // Whatever was still on its way has arrived.
    std::thread::sleep(LONGER_THAN_QUIET * 3);
    let before = looks(&gateway);
    // A database that is written into beside the manifests, and what editors and git leave there.
    for round in 0..50 {
        fs::write(directory.tree().join("shop.db-wal"), round.to_string()).unwrap();
        fs::create_dir_all(directory.tree().join(".git/objects")).unwrap();
        fs::write(directory.tree().join(".git/objects/x"), round.to_string()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(looks(&gateway), before);
    gateway.stop();
}

#[test]
fn a16_a_storm_of_events_is_few_looks_and_does_not_put_them_off() {
    const WRITES: usize = 500;
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    gateway.claim("keep changing");
    let before = looks(&gateway);
    let mut during = 0;
    for round in 0..WRITES {
        // No two writes are further apart than the time of quiet that a burst ends with.
        directory.write(
            "storm.toml",
            sqlite_service(&format!("storm{round}"), "shop.db"),
        );
        std::thread::sleep(Duration::from_millis(10));
        if round == WRITES - 1 {
            during = looks(&gateway) - before;
        }
    }
    let last = format!("storm{}", WRITES - 1);
    expect_services(&gateway, &["shop", &last]);
    assert!(during >= 1, "the storm put every look off");
    let all = looks(&gateway) - before;
    assert!(all <= 50, "{all} looks for {WRITES} writes");
    gateway.stop();
}

/// Services whose passwords take their time: each is opened by the last of the keys of a long identity. Gives the
/// identity.
fn slow_services(directory: &WatchedDirectory, names: &[String]) -> PathBuf {
    let keygen = |name: &str| {
        let path = directory.base().join(name);
        let binary = binary();
        let arguments = ["secret", "keygen", "--output", path.to_str().unwrap()];
        let public = run(binary.to_str().unwrap(), &arguments);
        let lines = fs::read_to_string(path).unwrap();
        let key = lines.lines().find(|line| line.starts_with("AGE-"));
        (key.unwrap().to_owned(), public)
    };
    let ((stranger, _), (own, public)) = (keygen("stranger"), keygen("own"));
    let identity = directory.base().join("identity");
    fs::write(
        &identity,
        format!("{}{own}\n", format!("{stranger}\n").repeat(255)),
    )
    .unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
    for name in names {
        let encrypt = format!(
            "printf {name} | '{}' secret encrypt --recipient {public}",
            binary().display()
        );
        let text = format!(
            "[service.{name}]\ntype = \"pgsql\"\nactive = false\n\n[service.{name}.config]\nhost = \"127.0.0.1\"\n\
             database = \"x\"\nusername = \"x\"\npassword = {}\n",
            run("sh", &["-c", &encrypt])
        );
        directory.write(&format!("{name}.toml"), text);
    }
    identity
}

#[test]
fn a17_a_change_during_a_running_reload_is_never_lost() {
    let directory = sample::shop();
    let slow: Vec<String> = (10..16).map(|number| format!("slow{number}")).collect();
    let identity = slow_services(&directory, &slow);
    let gateway = Start::new(&directory.tree(), &directory.data())
        .poll_seconds(NEVER)
        .environment("TIDEGATE_AGE_IDENTITY", identity.to_str().unwrap())
        .start();
    for gap in [250, 350, 450] {
        directory.write("a.toml", sqlite_service("first", "shop.db"));
        // The files of that are read by now, and not served yet.
        std::thread::sleep(Duration::from_millis(gap));
        let name = format!("after{gap}");
        directory.write("a.toml", sqlite_service(&name, "shop.db"));
        let mut names = vec![name, "shop".to_owned()];
        names.extend(slow.iter().cloned());
        expect_services(&gateway, &names);
    }
    gateway.stop();
}

#[test]
fn a18_editors_leave_nothing_behind_and_lose_nothing() {
    let directory = sample::shop();
    let gateway = watched(&directory.tree(), &directory.data());
    let tree = directory.tree();
    let at = |name: &str| tree.join(name);
    let manifest = |name: &str| sqlite_service(name, "shop.db");
    let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
    let rename = |from: &str, to: &str| fs::rename(at(from), at(to)).unwrap();
    let remove = |name: &str| fs::remove_file(at(name)).unwrap();
    let pause = || std::thread::sleep(Duration::from_millis(30));

    // vim, `backupcopy=no`: a swap file while it is open, a probe, the old one moved aside, a new one.
    write(".shop.toml.swp", "b0VIM 9.0");
    write("4913", "");
    remove("4913");
    rename("shop.toml", "shop.toml~");
    pause();
    write("shop.toml", &manifest("vim"));
    remove("shop.toml~");
    remove(".shop.toml.swp");
    expect_services(&gateway, &["vim"]);

    // vim, `backupcopy=yes`: a copy aside, then in place.
    write("shop.toml~", &manifest("vim"));
    write("shop.toml", &manifest("vim2"));
    expect_services(&gateway, &["vim2"]);

    // emacs: a lock that is a link to nowhere, an autosave, a backup by renaming, a new one; backup and lock stay.
    symlink("ann@host.1234:1700000000", at(".#shop.toml")).unwrap();
    write("#shop.toml#", "[service.half");
    pause();
    rename("shop.toml", "shop.toml~");
    write("shop.toml", &manifest("emacs"));
    remove("#shop.toml#");
    expect_services(&gateway, &["emacs"]);

    // nano: a lock, then in place.
    write(".shop.toml.swp", "nano");
    write("shop.toml", &manifest("nano"));
    remove(".shop.toml.swp");
    expect_services(&gateway, &["nano"]);

    // VS Code: emptied and written in place, in two steps.
    directory.write_slowly("shop.toml", &[&manifest("code")], Duration::from_millis(30));
    expect_services(&gateway, &["code"]);

    // JetBrains, safe write: a temporary one, the old one aside, the temporary one in, the old one gone.
    write("shop.toml___jb_tmp___", &manifest("jetbrains"));
    pause();
    rename("shop.toml", "shop.toml___jb_old___");
    rename("shop.toml___jb_tmp___", "shop.toml");
    remove("shop.toml___jb_old___");
    expect_services(&gateway, &["jetbrains"]);

    // GNOME's editor, and `sed -i`: a temporary one of an odd name, moved over.
    write(".goutputstream-ABCDEF", &manifest("gedit"));
    rename(".goutputstream-ABCDEF", "shop.toml");
    expect_services(&gateway, &["gedit"]);
    let path = at("shop.toml");
    run("sed", &["-i", "s/gedit/sed/", path.to_str().unwrap()]);
    expect_services(&gateway, &["sed"]);

    // rsync and others: a temporary name that only ends otherwise.
    write("shop.toml.tmp", &manifest("rsync"));
    write("shop.toml.bak", "rubbish");
    rename("shop.toml.tmp", "shop.toml");
    expect_services(&gateway, &["rsync"]);
    // Nothing was refused: no half file, no autosave, no lock was ever taken for a manifest.
    assert_eq!(gateway.looks("refused"), 0);
    gateway.stop();
}

#[test]
fn a19_folders_above_may_be_renamed_deleted_and_made_anew() {
    let directory = people();
    let base = directory.base();
    let tree = base.join("srv/one/two/gateway.d");
    let write = |tree: &Path, name: &str| {
        fs::create_dir_all(tree).unwrap();
        fs::write(tree.join("people.toml"), sample::people()).unwrap();
        fs::write(tree.join("service.toml"), sqlite_service(name, "shop.db")).unwrap();
    };
    write(&tree, "shop");
    let gateway = watched(&tree, &directory.data());
    gateway.claim("the tree is refused");
    let client = gateway.client_with(READER);
    let missing = || {
        gateway.wait_for_refusal();
        client.get("/api/v2").expect_ok();
    };
    // Several levels up, away and back, with a change in between.
    fs::rename(base.join("srv"), base.join("aside")).unwrap();
    missing();
    fs::write(
        base.join("aside/one/two/gateway.d/service.toml"),
        sqlite_service("back", "shop.db"),
    )
    .unwrap();
    fs::rename(base.join("aside"), base.join("srv")).unwrap();
    expect_services(&gateway, &["back"]);
    // Replaced by another at once.
    write(&base.join("other/two/gateway.d"), "other");
    fs::rename(base.join("srv/one"), base.join("srv/gone")).unwrap();
    fs::rename(base.join("other"), base.join("srv/one")).unwrap();
    expect_services(&gateway, &["other"]);
    // The folder itself, and everything above it, deleted and made anew.
    fs::remove_dir_all(&tree).unwrap();
    missing();
    write(&tree, "anew");
    expect_services(&gateway, &["anew"]);
    fs::remove_dir_all(base.join("srv")).unwrap();
    missing();
    write(&tree, "again");
    expect_services(&gateway, &["again"]);
    // What is there now is watched.
    fs::write(tree.join("service.toml"), sqlite_service("last", "shop.db")).unwrap();
    expect_services(&gateway, &["last"]);
    gateway.stop();
}
