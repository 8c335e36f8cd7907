//! Is every accepted tree put in place without anybody noticing? One test for each way in which other projects have failed
//! at it, C1 to C15 (section "What a reload survives" of the README). `tests/soak` runs C4 a thousand times and more.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::postgresql::service;
use crate::support::client::{read_chunk, read_head};
use crate::support::gateway::Start;
use crate::support::git::git;
use crate::support::postgresql::PostgresqlServer;
use crate::support::sample::{self, READER, sqlite_service};
use crate::support::systemd::NotifySocket;
use crate::support::watched::{commit, run};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

/// Calls `ask` from so many threads, over and over, while `work` runs. Says how many calls there were.
fn under_load<T>(threads: usize, ask: impl Fn() + Sync, work: impl FnOnce() -> T) -> (T, u64) {
    let is_done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    let done = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_done.load(Ordering::SeqCst) {
                    ask();
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_done.store(true, Ordering::SeqCst);
        outcome
    });
    (
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        calls.into_inner(),
    )
}

/// One more revision, which keeps every service.
fn next(directory: &WatchedDirectory, gateway: &TestGateway, number: usize) -> u64 {
    let generation = gateway.generation();
    directory.write("turn.toml", format!("[lookup]\nturn = \"{number}\"\n"));
    gateway.wait_for_generation_after(generation)
}

fn generation_of(answer: &crate::support::Answer) -> u64 {
    let revision = answer.header("x-tidegate-revision").unwrap();
    let number = revision.trim_start_matches('g').split('-').next().unwrap();
    number.parse().unwrap()
}

#[test]
fn c01_no_request_is_lost_while_the_tables_are_replaced() {
    let (directory, gateway) = start();
    let ask = || {
        let answer = gateway.client_with(READER).get(&format!("{CUSTOMER}/1"));
        answer.expect_ok();
    };
    let ((), calls) = under_load(2, ask, || {
        for number in 0..20 {
            next(&directory, &gateway, number);
        }
    });
    assert!(calls > 20, "there was no load: {calls}");
    gateway.stop();
}

#[test]
fn c02_what_is_new_is_there_and_what_is_gone_is_gone_in_the_same_moment() {
    let (directory, gateway) = start();
    let client = gateway.client_with(READER);
    for number in 0..5 {
        let name = format!("s{number}");
        let generation = gateway.generation();
        directory.write("moving.toml", sqlite_service(&name, "shop.db"));
        let generation = gateway.wait_for_generation_after(generation);
        // From the first request on that names the new revision.
        let answer = client.get(&format!("/api/v2/{name}/_table/customer"));
        answer.expect_ok();
        assert!(generation_of(&answer) >= generation);
        if number > 0 {
            client
                .get(&format!("/api/v2/s{}/_table/customer", number - 1))
                .expect_error(404, "unknown_service");
        }
    }
    gateway.stop();
}

#[test]
fn c03_one_request_sees_one_revision_from_its_first_byte_to_its_last() {
    // Label and description of a service always change together; the documentation shows both.
    let (directory, gateway) = start();
    let service = |number: usize| {
        sqlite_service("shop", "shop.db").replace(
            "label = \"shop\"",
            &format!("label = \"word-{number}\"\ndescription = \"word-{number}\""),
        )
    };
    let seen = Mutex::new(BTreeSet::new());
    let ask = || {
        let answer = gateway.client_with(READER).get("/api/v2");
        let text = answer.text();
        let words: BTreeSet<String> = text
            .split('"')
            .filter(|part| part.starts_with("word-"))
            .map(str::to_owned)
            .collect();
        assert!(words.len() <= 1, "two revisions in one answer: {text}");
        let mut seen = seen.lock().unwrap();
        seen.extend(words.into_iter().map(|word| (generation_of(&answer), word)));
    };
    under_load(2, ask, || {
        for number in 0..15 {
            let generation = gateway.generation();
            directory.write("shop.toml", service(number));
            gateway.wait_for_generation_after(generation);
        }
    });
    // A revision has one word, whoever asked and whichever thread answered.
    let seen = seen.into_inner().unwrap();
    let generations: BTreeSet<u64> = seen.iter().map(|(generation, _)| *generation).collect();
    assert_eq!(generations.len(), seen.len(), "{seen:?}");
    assert!(generations.len() > 3, "{seen:?}");
    gateway.stop();
}

#[test]
fn c04_memory_files_and_series_stay_flat_over_reloads_under_load() {
    let reloads = std::env::var("TIDEGATE_SOAK_RELOADS").ok();
    let reloads = reloads.map_or(150, |count| count.parse().unwrap());
    crate::soak::reloads_under_load(reloads);
}

#[test]
fn c05_no_thread_spins_after_reloads() {
    let (directory, gateway) = start();
    for number in 0..10 {
        let generation = gateway.generation();
        directory.write(
            "shop.toml",
            sqlite_service("shop", "shop.db") + &format!("max_records = {}\n", 100 + number),
        );
        gateway.wait_for_generation_after(generation);
        gateway.client_with(READER).get(CUSTOMER).expect_ok();
    }
    // Ticks of the processor that an idle daemon uses while somebody sleeps for a second: a thread that spins uses all.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let per_second: u64 = run("getconf", &["CLK_TCK"]).parse().unwrap();
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let used = ticks() - before;
    assert!(
        used < per_second / 2,
        "{used} ticks of {per_second} a second while idle"
    );
    gateway.stop();
}

#[test]
fn c06_requests_are_answered_while_a_large_tree_is_read() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();
    let mut text = String::new();
    for number in 0..3000 {
        text.push_str(&sqlite_service(&format!("more-{number}"), "shop.db"));
    }
    let answered_by_old = AtomicU64::new(0);
    let ask = || {
        let answer = client.get(&format!("{CUSTOMER}/1"));
        answer.expect_ok();
        if generation_of(&answer) == 1 {
            answered_by_old.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (generation, _) = under_load(1, ask, || {
        directory.write("many.toml", &text);
        gateway.wait_for_generation_after(1)
    });
    assert!(
        answered_by_old.into_inner() > 10,
        "requests waited for the new tree"
    );
    // The service was kept, so the first request on the new revision has nothing to prepare.
    let answer = client.get(CUSTOMER);
    assert!(generation_of(&answer) >= generation);
    let log = gateway.log();
    assert!(log.contains("\"kept\":1,\"opened\":3000"), "{log}");
    gateway.stop();
}

#[test]
fn c07_connections_and_streams_of_others_go_on() {
    const ROWS: u32 = 300_000;
    let directory = sample::shop();
    sample::create_numbers(&directory.data().join("numbers.db"), ROWS);
    directory.write(
        "numbers.toml",
        sqlite_service("numbers", "numbers.db") + "max_records = 1000000\n",
    );
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    // A long answer that is read slowly, and a connection between two requests.
    let mut stream = gateway
        .client_with(READER)
        .request("GET", "/api/v2/numbers/_table/number")
        .header("Accept", "application/x-ndjson")
        .open();
    assert_eq!(read_head(&mut stream).status, 200);
    read_chunk(&mut stream).unwrap();
    let keeping = gateway.client_with(READER);
    keeping.get(CUSTOMER).expect_ok();
    for number in 0..5 {
        let generation = gateway.generation();
        directory.write(
            "shop.toml",
            sqlite_service("shop", "shop.db") + &format!("max_records = {}\n", 100 + number),
        );
        gateway.wait_for_generation_after(generation);
        keeping.get(CUSTOMER).expect_ok();
    }
    let mut lines = 0;
    loop {
        let chunk =
            read_chunk(&mut stream).expect("the stream was cut by a reload of another service");
        if chunk.is_empty() {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &chunk).count();
    }
    assert!(lines > 200_000, "{lines}");
    gateway.stop();
}

#[test]
fn c08_a_long_answer_does_not_keep_an_old_revision_for_ever() {
    const ROWS: u32 = 1_000_000;
    let directory = sample::shop();
    sample::create_numbers(&directory.data().join("numbers.db"), ROWS);
    let service = sqlite_service("numbers", "numbers.db") + "max_records = 1000000\n";
    directory.write("numbers.toml", service);
    directory.write("gateway.toml", "[gateway]\nstream_drain_seconds = 1\n");
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("an answer broke off");
    let files = || {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
        folder
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.to_string_lossy().contains("numbers.db"))
            .count()
    };
    let mut stream = gateway
        .client_with(READER)
        .request("GET", "/api/v2/numbers/_table/number")
        .header("Accept", "application/x-ndjson")
        .open();
    assert_eq!(read_head(&mut stream).status, 200);
    assert!(files() > 0);
    directory.remove("numbers.toml");
    gateway.wait_for_generation_after(1);
    // Nobody reads on, and yet the database of the service that is gone is let go.
    eventually("the files of the old revision to be closed", 60, || {
        (files() == 0).then_some(())
    });
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the answer looks whole");
    gateway.stop();
}

#[test]
fn c09_nothing_in_a_tree_can_hang_a_reload() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    // Pipes without a writer, where a manifest and where a secret should be: opening one would wait for ever.
    let pipe = directory.tree().join("pipe.toml");
    run("mkfifo", &[&pipe.display().to_string()]);
    let secret = directory.base().join("secret");
    run("mkfifo", &[&secret.display().to_string()]);
    directory.write(
        "db.toml",
        format!(
            "[service.db]\ntype = \"pgsql\"\n[service.db.config]\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"d\"\n\
             username = \"u\"\npassword = {{ file = \"{}\" }}\n",
            secret.display()
        ),
    );
    let attempt = gateway.wait_for_refusal();
    assert!(
        attempt.to_string().contains("not a regular file"),
        "{attempt}"
    );
    directory.remove("db.toml");
    next(&directory, &gateway, 1);
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn c10_everything_may_change_at_once() {
    let (directory, gateway) = start();
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    // Every service, role and key is another one, in one step.
    let key = "another-key-0123456789abcdef";
    let everything = format!(
        "{}[role.other]\n[[role.other.access]]\nservice = \"store\"\ncomponent = \"*\"\nverbs = [\"GET\"]\n{}",
        sqlite_service("store", "shop.db"),
        sample::key("other", "other", key)
    );
    let next_tree = directory.base().join("next");
    std::fs::create_dir(&next_tree).unwrap();
    std::fs::write(next_tree.join("all.toml"), everything).unwrap();
    std::fs::rename(directory.tree(), directory.base().join("before")).unwrap();
    std::fs::rename(&next_tree, directory.tree()).unwrap();
    gateway.claim("refused");
    gateway.wait_for_generation_after(1);
    gateway
        .client_with(key)
        .get("/api/v2/store/_table/customer")
        .expect_ok();
    assert_eq!(gateway.client_with(READER).get(CUSTOMER).status, 401);
    gateway.stop();
}

#[test]
fn c11_what_is_reported_as_served_is_in_effect() {
    let (directory, gateway) = start();
    for number in 0..10 {
        let is_open = number % 2 == 0;
        let generation = gateway.generation();
        let people = sample::people();
        directory.write(
            "people.toml",
            if is_open {
                people.replace(
                    "[role.reader]\ndescription = \"May read everything\"",
                    &format!("[role.reader]\nactive = false\ndescription = \"{number}\""),
                )
            } else {
                people
            },
        );
        gateway.wait_for_generation_after(generation);
        // The very next request, on a connection of its own.
        let status = gateway.client_with(READER).get(CUSTOMER).status;
        assert_eq!(status, if is_open { 403 } else { 200 });
    }
    gateway.stop();
}

#[test]
fn c12_digest_and_commit_are_those_of_what_is_served() {
    let directory = sample::shop();
    git(&directory.tree(), &["init", "--quiet"]);
    let first = commit(&directory.tree(), "first");
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let status = gateway.status();
    assert_eq!(status["commit"], first.as_str());
    assert_eq!(status["dirty"], false);
    // Computed here from the rule in the documentation: SHA-256 over lengths, names and bytes, sorted by name.
    let digest = |names: &[&str]| {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        for name in names {
            let bytes = std::fs::read(directory.tree().join(name)).unwrap();
            for part in [name.as_bytes(), &bytes] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    };
    assert_eq!(
        status["digest"],
        digest(&["people.toml", "shop.toml"]).as_str()
    );

    directory.write("third.toml", "[lookup]\nword = \"x\"\n");
    gateway.wait_for_generation_after(1);
    let status = gateway.status();
    let expected = digest(&["people.toml", "shop.toml", "third.toml"]);
    assert_eq!(status["digest"], expected.as_str());
    assert_eq!(status["dirty"], true);
    let revision = status["revision"].as_str().unwrap().to_owned();
    assert!(revision.ends_with(&expected[..12]), "{revision}");
    let answer = gateway.client_with(READER).get(CUSTOMER);
    assert_eq!(
        answer.header("x-tidegate-revision"),
        Some(revision.as_str())
    );
    let metrics = gateway.operations("/metrics").text();
    assert!(
        metrics.contains(&format!("revision=\"{revision}\"")),
        "{metrics}"
    );
    gateway.stop();
}

#[test]
fn c13_after_a_crash_the_good_tree_is_still_there() {
    let directory = sample::shop();
    let state = tempfile::tempdir().unwrap();
    let start = || Start::new(&directory.tree(), &directory.data()).state(state.path());
    let mut gateway = start().start();
    eventually("the tree to be kept", 30, || {
        gateway.status()["last_good"]["digest"]
            .as_str()
            .map(str::to_owned)
    });
    // Killed in the middle of reloads, with a broken tree left behind.
    for number in 0..5 {
        next(&directory, &gateway, number);
    }
    directory.write("broken.toml", "[service.x\n");
    gateway.signal("KILL");
    gateway.wait();
    drop(gateway);
    let gateway = start().start();
    gateway.claim("refused");
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    let status = gateway.status();
    assert_eq!(status["source"], "last-good");
    assert_eq!(status["degraded"], true);
    directory.remove("broken.toml");
    eventually("the mended tree", 30, || {
        (gateway.status()["degraded"] == false).then_some(())
    });
    gateway.stop();
}

#[test]
fn c14_columns_that_change_under_prepared_statements_are_served_as_they_are() {
    let server = PostgresqlServer::start();
    server.sql("CREATE TABLE thing (id bigint PRIMARY KEY, size integer NOT NULL, old text); INSERT INTO thing VALUES (1, 7, 'x');");
    let directory = WatchedDirectory::new();
    directory.write("db.toml", service("db", &server, ""));
    directory.write("people.toml", sample::people());
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    gateway.claim("backend");
    let client = gateway.client_with(READER);
    let thing = "/api/v2/db/_table/thing/1";
    // Prepared on every shared connection.
    for _ in 0..20 {
        assert_eq!(client.get(thing).json()["size"], 7);
    }
    server.sql(
        "ALTER TABLE thing ALTER size TYPE text USING 'size ' || size; ALTER TABLE thing DROP old;",
    );
    // The service is kept over a reload, statements and all, and still tells the truth soon.
    next(&directory, &gateway, 1);
    eventually("the new columns", 30, || {
        let answer = client.get(thing);
        (answer.status == 200 && answer.json()["size"] == "size 7").then_some(())
    });
    for _ in 0..20 {
        let record = client.get(thing).json();
        assert_eq!(record["size"], "size 7", "{record}");
        assert!(record.get("old").is_none(), "{record}");
    }
    gateway.stop();
}

#[test]
fn c15_systemd_hears_the_end_of_every_reload_whatever_came_of_it() {
    let directory = sample::shop();
    let socket = NotifySocket::new();
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("NOTIFY_SOCKET", &socket.name)
        .start();
    gateway.claim("refused");
    let (mut seen, _) = socket.wait_for("READY", 0, |message| message.says("READY", "1"));
    for text in [
        "[lookup]\nword = \"x\"\n",
        "[service.x\n",
        "[lookup]\nword = \"y\"\n",
    ] {
        directory.write("turn.toml", text);
        gateway.signal("HUP");
        let (begun, _) = socket.wait_for("RELOADING", seen + 1, |message| {
            message.says("RELOADING", "1")
        });
        let (ended, message) =
            socket.wait_for("READY", begun + 1, |message| message.says("READY", "1"));
        let status = message.get("STATUS").unwrap();
        assert_eq!(
            status.contains("turn.toml:1"),
            text.starts_with("[service"),
            "{status}"
        );
        seen = ended;
    }
    gateway.stop();
}
