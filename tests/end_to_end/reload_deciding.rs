//! Is every tree judged rightly, and by what it says alone? One test for each way in which other projects have failed at
//! it, B1 to B12 (section "What a reload survives" of the README).

use serde_json::Value;

use crate::support::gateway::{Start, binary};
use crate::support::sample::{self, ADMIN, READER, sqlite_service};
use crate::support::{TestGateway, WatchedDirectory, eventually};

const CUSTOMER: &str = "/api/v2/shop/_table/customer";

fn start() -> (WatchedDirectory, TestGateway) {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    (directory, gateway)
}

fn problems(attempt: &Value) -> Vec<Value> {
    attempt["problems"].as_array().unwrap().clone()
}

#[test]
fn b01_names_and_order_of_files_never_matter() {
    let (directory, gateway) = start();
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    // The service moves behind the people, then before them, then all stand in one file, the other way round.
    let people = sample::people();
    let service = sqlite_service("shop", "shop.db");
    let (first, second) = people.split_once("[key.admin]").unwrap();
    let layouts: [&[(&str, String)]; 3] = [
        &[
            ("zz.toml", service.clone()),
            ("people.toml", people.clone()),
        ],
        &[
            ("00/a.toml", service.clone()),
            ("zz.toml", first.to_owned()),
            ("people.toml", format!("[key.admin]{second}")),
        ],
        &[(
            "people.toml",
            format!("[key.admin]{second}{service}{first}"),
        )],
    ];
    let mut generation = gateway.generation();
    let mut before = vec!["shop.toml".to_owned(), "people.toml".to_owned()];
    for layout in layouts {
        // Whatever is seen in between is refused: names are written twice.
        gateway.claim("refused");
        for name in &before {
            if !layout.iter().any(|(new, _)| new == name) {
                std::fs::rename(
                    directory.tree().join(name),
                    directory.tree().join(format!("{name}.old")),
                )
                .unwrap();
            }
        }
        for (name, text) in layout {
            directory.write(name, text);
        }
        generation = gateway.wait_for_generation_after(generation);
        gateway.client_with(READER).get(CUSTOMER).expect_ok();
        gateway.client_with(ADMIN).get(CUSTOMER).expect_ok();
        before = layout.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    // Nothing that matters changed, so the connector was kept from the first to the last.
    let status = eventually("the last layout", 30, || {
        let status = gateway.status();
        (status["last_attempt"]["outcome"] == "applied").then_some(status)
    });
    assert_eq!(status["services"][0]["health"], "up", "{status}");
    let log = gateway.log();
    assert!(!log.contains("\"replaced\":1"), "{log}");
    gateway.stop();
}

#[test]
fn b02_a_name_that_is_written_twice_is_refused_with_both_places() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    directory.write(
        "again.toml",
        format!("\n{}", sqlite_service("shop", "other.db")),
    );
    let attempt = gateway.wait_for_refusal();
    let problem = &problems(&attempt)[0];
    let text = |name: &str| problem[name].as_str().unwrap().to_owned();
    assert!(text("message").contains("written twice"), "{problem}");
    let here = format!("{}:{}", text("file"), problem["line"]);
    let both = format!("{here} {}", text("help"));
    for place in ["again.toml:2", "shop.toml:1"] {
        assert!(both.contains(place), "{place} is not named: {both}");
    }
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    assert_eq!(gateway.generation(), 1);
    gateway.stop();
}

#[test]
fn b03_of_a_tree_with_one_mistake_nothing_goes_live() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    let client = gateway.client_with(READER);
    // A good service, a good key and a role with a mistake, in one file and in three.
    let good = sqlite_service("second", "shop.db");
    let key = sample::key("third", "reader", "third-key-0123456789");
    let bad = "[role.fourth]\n[[role.fourth.access]]\nservice = \"shop\"\ncomponent = \"*\"\nverbs = [\"READ\"]\n";
    directory.write("second.toml", &good);
    directory.write("third.toml", &key);
    // The two files above are a good tree on the way; only what comes with the mistake must not go live.
    gateway.wait_for_generation_after(1);
    let generation = eventually("both good files", 30, || {
        let seen = client.get("/api/v2/second/_table").status;
        let third = gateway
            .client_with("third-key-0123456789")
            .get(CUSTOMER)
            .status;
        (seen == 200 && third == 200).then(|| gateway.generation())
    });
    directory.write(
        "fourth.toml",
        format!("{bad}{}", sqlite_service("fifth", "shop.db")),
    );
    gateway.wait_for_refusal();
    client
        .get("/api/v2/fifth/_table")
        .expect_error(404, "unknown_service");
    assert_eq!(gateway.generation(), generation);
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn b04_the_last_good_tree_is_only_what_was_really_served() {
    let directory = sample::shop();
    let state = tempfile::tempdir().unwrap();
    let start = || Start::new(&directory.tree(), &directory.data()).state(state.path());
    let gateway = start().start();
    gateway.claim("refused");
    eventually("the tree to be kept", 30, || {
        gateway.status()["last_good"]["digest"]
            .as_str()
            .map(str::to_owned)
    });
    // A tree that reads well and fails its own expectation is refused at the last step.
    directory.write(
        "wish.toml",
        format!(
            "{}[[expect]]\nkey = \"reader\"\nrequest = \"DELETE /api/v2/shop/_table/customer/1\"\nanswer = \"allowed\"\n",
            sqlite_service("second", "shop.db")
        ),
    );
    gateway.wait_for_refusal();
    gateway.stop();
    let gateway = start().start();
    gateway.claim("refused");
    let client = gateway.client_with(READER);
    client.get(CUSTOMER).expect_ok();
    client
        .get("/api/v2/second/_table")
        .expect_error(404, "unknown_service");
    assert_eq!(gateway.status()["source"], "last-good");
    gateway.stop();
}

#[test]
fn b05_nothing_never_replaces_something() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    let client = gateway.client_with(READER);
    std::fs::rename(
        directory.tree().join("people.toml"),
        directory.base().join("people.toml"),
    )
    .unwrap();
    let generation = gateway.wait_for_generation_after(1);
    // Without any manifest, and with one that only has a comment.
    directory.remove("shop.toml");
    gateway.wait_for_refusal();
    directory.write("comment.toml", "# nothing\n");
    eventually("the words for manifests that say nothing", 30, || {
        let attempt = gateway.status()["last_attempt"].clone();
        attempt.to_string().contains("say nothing").then_some(())
    });
    assert_eq!(gateway.generation(), generation);
    // The wish must be in the tree.
    directory.write("gateway.toml", "[gateway]\nallow_empty = true\n");
    gateway.wait_for_generation_after(generation);
    assert_eq!(gateway.status()["services"].as_array().unwrap().len(), 0);
    assert_eq!(client.get(CUSTOMER).status, 401);
    gateway.stop();
}

#[test]
fn b06_every_mistake_has_its_file_line_cause_and_mend() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    directory.write(
        "a.toml",
        "[service.second]\ntype = \"sqlit\"\n\n[service.second.config]\ndatabase = \"x.db\"\n",
    );
    directory.write(
        "b/c.toml",
        "[key.x]\nrole = \"nobody\"\nsha256 = \"short\"\n",
    );
    directory.write("d.toml", "[role.x\n");
    let attempt = eventually("all mistakes at once", 30, || {
        let attempt = gateway.status()["last_attempt"].clone();
        let files = ["a.toml", "b/c.toml", "d.toml"];
        let text = attempt.to_string();
        files
            .iter()
            .all(|file| text.contains(file))
            .then_some(attempt)
    });
    let log = gateway.log();
    for problem in problems(&attempt) {
        assert!(problem["line"].as_u64().unwrap() >= 1, "{problem}");
        assert!(problem["column"].as_u64().unwrap() >= 1, "{problem}");
        let message = problem["message"].as_str().unwrap();
        assert!(!message.is_empty());
        assert!(
            log.contains(message.lines().next().unwrap()),
            "the log lacks: {message}"
        );
    }
    assert!(
        attempt.to_string().contains("did you mean `sqlite`"),
        "{attempt}"
    );
    gateway.stop();
}

#[test]
fn b07_no_secret_is_shown_when_a_tree_is_refused() {
    const SECRET: &str = "hunter2-must-not-leak";
    let directory = sample::shop();
    let file = directory.base().join("password");
    std::fs::write(&file, SECRET).unwrap();
    let gateway = Start::new(&directory.tree(), &directory.data())
        .environment("SECRET_OF_A_TEST", SECRET)
        .start();
    gateway.claim("refused");
    let config = |password: &str| {
        format!(
            "[service.db]\ntype = \"pgsql\"\n[service.db.config]\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"d\"\n\
             username = \"u\"\npassword = {password}\nmistake = true\n"
        )
    };
    let broken = format!("password = \"{SECRET}\" x\n[[[\n");
    for text in [
        config(&format!("\"{SECRET}\"")),
        config(&format!("{{ plain = \"{SECRET}\" }}")),
        config("{ env = \"SECRET_OF_A_TEST\" }"),
        config(&format!("{{ file = \"{}\" }}", file.display())),
        config(&format!("{{ vault = \"{SECRET}\" }}")),
        broken,
    ] {
        let before = gateway.looks("refused");
        directory.write("db.toml", &text);
        eventually("the refusal", 30, || {
            (gateway.looks("refused") > before).then_some(())
        });
    }
    for shown in [
        gateway.log(),
        gateway.status().to_string(),
        gateway.operations("/metrics").text(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    gateway.stop();
}

#[test]
fn b08_a_bad_first_tree_ends_the_start_with_what_is_wrong() {
    let directory = sample::shop();
    directory.write("broken.toml", "[service.x]\ntype = 5\n");
    let start = || Start::new(&directory.tree(), &directory.data());
    let (status, log) = start().expect_refusal();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("broken.toml:2:8"), "{log}");
    // Once it is mended the next start is an ordinary one: nothing of the bad one stayed.
    directory.remove("broken.toml");
    let gateway = start().start();
    gateway.client_with(READER).get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn b09_no_reload_waits_for_something_remote() {
    // A server that takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (directory, gateway) = start();
    gateway.claim("backend");
    let remote = |name: &str, port: u16| {
        format!(
            "[service.{name}]\ntype = \"pgsql\"\n[service.{name}.config]\nhost = \"127.0.0.1\"\nport = {port}\n\
             database = \"d\"\nusername = \"u\"\n"
        )
    };
    directory.write("silent.toml", remote("silent", port));
    let generation = gateway.wait_for_generation_after(1);
    directory.write("away.toml", remote("away", 1));
    let generation = gateway.wait_for_generation_after(generation);
    // Neither keeps the next change from going live, and both are services like any other.
    directory.write("second.toml", sqlite_service("second", "shop.db"));
    gateway.wait_for_generation_after(generation);
    let client = gateway.client_with(READER);
    client.get("/api/v2/second/_table/customer").expect_ok();
    client
        .get("/api/v2/away/_table/x")
        .expect_error(503, "backend_unavailable");
    assert_eq!(gateway.status()["degraded"], false);
    gateway.stop();
    drop(silent);
}

#[test]
fn b10_the_check_and_the_daemon_judge_alike() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    let base = directory.tree();
    let trees = [
        "[lookup]\nregion = \"north\"\n",
        "[service.second]\ntype = \"sqlite\"\nactive = false\n[service.second.config]\ndatabase = \"x.db\"\n",
        "[service.second]\ntype = \"sqlite\"\n[service.second.config]\ndatabase = \"../x.db\"\n",
        "[service.second]\ntype = \"sqlite\"\n[service.second.config]\ndatabase = \"\"\n",
        "[service.user]\ntype = \"sqlite\"\n[service.user.config]\ndatabase = \"x.db\"\n",
        "[role.x]\n[[role.x.access]]\nservice = \"shop\"\ncomponent = \"a*b\"\nverbs = [\"GET\"]\n",
        "[role.x]\n[[role.x.access]]\nservice = \"shop\"\ncomponent = \"*\"\nverbs = [\"GET\"]\nfilter = \"a = \"\n",
        "[gateway]\nmax_in_flight = 0\n",
        "[gateway]\nmax_in_flight = 7\n",
        "[[expect]]\nkey = \"reader\"\nrequest = \"GET /api/v2/shop\"\nanswer = \"denied\"\n",
        "[[expect]]\nkey = \"reader\"\nrequest = \"GET /api/v2/shop\"\nanswer = \"allowed\"\n",
    ];
    let mut refusals = 0;
    for text in trees {
        let (applied, refused) = (gateway.looks("applied"), gateway.looks("refused"));
        directory.write("more.toml", text);
        let is_accepted = eventually("the verdict of the daemon", 30, || {
            if gateway.looks("applied") > applied {
                return Some(true);
            }
            (gateway.looks("refused") > refused).then_some(false)
        });
        let checked = std::process::Command::new(binary())
            .arg("check")
            .arg(&base)
            .output()
            .unwrap();
        assert_eq!(
            checked.status.success(),
            is_accepted,
            "{text}\n{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        refusals += usize::from(!is_accepted);
    }
    assert_eq!(refusals, 7, "the list has trees of both kinds");
    gateway.stop();
}

#[test]
fn b11_whatever_a_tree_may_say_takes_effect_without_a_restart() {
    let (directory, gateway) = start();
    let client = gateway.client_with(READER);
    let apply = |text: &str| {
        let generation = gateway.generation();
        directory.write("gateway.toml", text);
        gateway.wait_for_generation_after(generation);
    };
    let long = format!("{CUSTOMER}?_={}", "x".repeat(3000));
    client.get(&long).expect_ok();
    apply("[gateway]\nmax_uri_bytes = 2000\n");
    client.get(&long).expect_error(414, "uri_too_long");
    apply("[gateway]\nmax_body_bytes = 1024\n");
    client.get(&long).expect_ok();
    let body = serde_json::json!({ "resource": [{ "full_name": "y".repeat(5000) }] });
    let answer = gateway
        .client_with(ADMIN)
        .send_json("POST", CUSTOMER, &body);
    assert_eq!(answer.status, 413, "{}", answer.text());
    apply("[gateway]\ntrusted_proxies = [\"127.0.0.1/32\"]\n");
    let request = client
        .request("GET", CUSTOMER)
        .header("X-Forwarded-For", "203.0.113.9");
    request.send().expect_ok();
    eventually("the address behind the proxy in the log", 10, || {
        gateway.log().contains("203.0.113.9").then_some(())
    });
    // A service changes its type, its config and whether it is served; a key its role; a role its rows.
    apply("[lookup]\nregion = \"north\"\n");
    let generation = gateway.generation();
    directory.write(
        "shop.toml",
        sqlite_service("shop", "shop.db").replace("label", "active = false\nlabel"),
    );
    let generation = gateway.wait_for_generation_after(generation);
    client
        .get(CUSTOMER)
        .expect_error(403, "service_deactivated");
    directory.write(
        "shop.toml",
        "[service.shop]\ntype = \"pgsql\"\n[service.shop.config]\nhost = \"127.0.0.1\"\nport = 1\ndatabase = \"d\"\nusername = \"u\"\n",
    );
    gateway.claim("backend");
    let generation = gateway.wait_for_generation_after(generation);
    client
        .get(CUSTOMER)
        .expect_error(503, "backend_unavailable");
    directory.write("shop.toml", sqlite_service("shop", "shop.db"));
    gateway.wait_for_generation_after(generation);
    client.get(CUSTOMER).expect_ok();
    gateway.stop();
}

#[test]
fn b12_a_tree_for_another_version_is_refused_with_a_hint() {
    let (directory, gateway) = start();
    gateway.claim("refused");
    // A table, a key and a word that this version does not know.
    directory.write(
        "later.toml",
        "[servce.x]\ntype = \"sqlite\"\n\n[gateway]\nmax_body_byte = 5\n",
    );
    let attempt = gateway.wait_for_refusal();
    let text = attempt.to_string();
    for hint in ["did you mean `service`", "did you mean `max_body_bytes`"] {
        assert!(text.contains(hint), "{hint}: {text}");
    }
    gateway.stop();
}
