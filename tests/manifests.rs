//! Manifests that must load and manifests that must not, with the exact words that people see.
//!
//! `tests/trees/bad/*.txt` hold manifests, a line of dashes, and the diagnostics; a line `# file: NAME` begins a further
//! file, and a line `# layer: NAME` a layer above those before it. `tests/trees/good/*/` are folders with `expected.txt`
//! beside the manifests; the folders that a `layers.txt` names are layers. `TIDEGATE_BLESS=1` writes what is said now
//! into these files; read the difference as if it were code.

#![expect(
    clippy::unwrap_used,
    reason = "in a test nobody has to go on after a mistake"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests may block and read the environment"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use http::Method;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate::connector::database::table_options::{self, TableOptions};
use tidegate::connector::operation::{Effect, Operation};
use tidegate::connector::{Connector, Family, Problem, Resources, ServiceConfig, ServiceType};
use tidegate::error::{Error, Result};
use tidegate::manifest::secrets::{Placeholders, Reference, Unreadable};
use tidegate::manifest::{
    Cache, Configs, Diagnostics, ManifestSet, Schemas, SecretSource, Severity, load, load_again,
};
use tidegate::secret::Secret;
use tidegate::snapshot::expect;
use tidegate::tree::{Layer, MAX_FILE_BYTES, Provenance, Tree, directory};

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encryption {
    /// With a certificate that is checked.
    Verify,
    /// Not at all.
    Off,
}

/// One of several further servers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replica {
    /// Host name.
    host: String,
    /// Its own password.
    password: Option<Secret>,
}

/// Has one field of every kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExampleConfig {
    /// Host name or address of the server.
    host: String,
    /// TCP port the server listens on.
    #[serde(default = "default_port")]
    port: u16,
    /// Password, always by reference.
    password: Option<Secret>,
    /// Most connections open at once.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 1000))]
    max_connections: u32,
    /// How the connection is encrypted.
    encryption: Option<Encryption>,
    /// Share of requests that are sampled.
    #[schemars(range(min = 0.0, max = 1.0))]
    share: Option<f64>,
    /// Whether nothing may be written.
    #[serde(default)]
    read_only: bool,
    /// Further servers.
    #[serde(default)]
    replicas: Vec<Replica>,
    /// What to change about tables, as every database has it.
    #[serde(default)]
    table: BTreeMap<String, TableOptions>,
}

fn default_port() -> u16 {
    5432
}
fn default_connections() -> u32 {
    8
}

impl ServiceConfig for ExampleConfig {
    const TYPE: &'static str = "example";
    const ALIASES: &'static [&'static str] = &["sample"];
    const FAMILY: Family = Family::Database;
    const LABEL: &'static str = "Example";
    const DESCRIPTION: &'static str = "A server that does not exist";

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.host.contains(' ') {
            problems.push(Problem {
                pointer: "/host".to_owned(),
                message: "`host` must not have a space".to_owned(),
                help: Some("write one host name".to_owned()),
            });
        }
        problems.extend(table_options::problems(&self.table));
        problems
    }

    fn operations(&self) -> &[Operation] {
        OPERATIONS
    }

    async fn open(&self, _: &Resources) -> Result<Arc<dyn Connector>> {
        Err(Error::internal("nothing is opened here"))
    }
}

const fn operation(name: &'static str, method: Method, path: &'static str) -> Operation {
    Operation {
        name,
        summary: "",
        method,
        path,
        effect: Effect::Reads,
        query: None,
        request: None,
        response: None,
    }
}

const OPERATIONS: &[Operation] = &[
    operation("root", Method::GET, ""),
    operation("list", Method::GET, "/_table/{table}"),
    operation("delete", Method::DELETE, "/_table/{table}/{id}"),
];

const TYPES: &[ServiceType] = &[ServiceType::of::<ExampleConfig>()];

fn schemas() -> &'static Schemas {
    static SCHEMAS: std::sync::LazyLock<Schemas> = std::sync::LazyLock::new(|| Schemas::new(TYPES));
    &SCHEMAS
}

/// `SET` has a value, everything else has none.
struct Vault(&'static str);

impl SecretSource for Vault {
    fn read(&self, reference: &Reference) -> std::result::Result<String, Unreadable> {
        match reference {
            Reference::Environment(name) if name == "SET" => Ok(self.0.to_owned()),
            _ => Err(Unreadable {
                message: "is not set".to_owned(),
                help: "set it".to_owned(),
            }),
        }
    }
}

fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Tree {
    let files = files
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    Tree::new("", files, Provenance::default())
}

fn load_text(text: &str) -> std::result::Result<ManifestSet, Diagnostics> {
    load(&tree([("a.toml", text.as_bytes())]), schemas())
}

/// What `check` would print: the problems of loading, else those of the configs, else the expectations that fail, else
/// the warnings.
fn judge(tree: &Tree) -> Diagnostics {
    judge_with(tree, &Vault("value"))
}

fn judge_with(tree: &Tree, secrets: &dyn SecretSource) -> Diagnostics {
    let judged = load(tree, schemas()).and_then(|set| {
        let configs = set.configs(secrets)?;
        let failures = expect::failures(&set, &configs);
        if failures.is_empty() {
            Ok(set.warnings)
        } else {
            Err(set.problems(failures))
        }
    });
    judged.unwrap_or_else(|problems| problems)
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/trees")
        .join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn is_blessing() -> bool {
    std::env::var("TIDEGATE_BLESS").is_ok()
}

/// A tree as the files of `tests/trees/bad` write it.
fn written_tree(text: &str) -> Tree {
    let first = || vec![("a.toml".to_owned(), String::new())];
    let mut layers: Vec<(&str, Vec<(String, String)>)> = vec![("", first())];
    for line in text.split_inclusive('\n') {
        let files = &mut layers.last_mut().unwrap().1;
        if let Some(name) = line.strip_prefix("# layer: ") {
            layers.push((name.trim(), first()));
        } else if let Some(name) = line.strip_prefix("# file: ") {
            files.push((name.trim().to_owned(), String::new()));
        } else {
            files.last_mut().unwrap().1.push_str(line);
        }
    }
    for (_, files) in &mut layers {
        files.retain(|(_, text)| !text.trim().is_empty());
    }
    match layers.as_slice() {
        [only] => layered(std::slice::from_ref(only)),
        // Nothing stands above the first line that names a layer.
        [_, named @ ..] => layered(named),
        [] => layered(&layers),
    }
}

/// A tree of named layers, the lowest first.
fn layered<N: AsRef<str>, T: AsRef<[u8]>>(layers: &[(&str, Vec<(N, T)>)]) -> Tree {
    let layers = layers.iter().map(|(label, files)| {
        let files = files
            .iter()
            .map(|(name, text)| (name.as_ref().to_owned(), text.as_ref().to_vec()));
        Layer::new(*label, files, Provenance::default())
    });
    Tree::of(layers.collect())
}

#[test]
fn bad_trees_are_refused_with_exactly_these_words() {
    const DASHES: &str = "\n----------------------------------------\n";
    let cases = entries("bad");
    assert!(cases.len() >= 25, "{} cases", cases.len());
    let mut failures = String::new();
    for path in cases {
        let text = fs::read_to_string(&path).unwrap();
        let (manifests, expected) = text.split_once(DASHES).unwrap_or((&text, ""));
        let said = judge(&written_tree(&format!("{manifests}\n"))).to_string();
        if is_blessing() {
            fs::write(&path, format!("{manifests}{DASHES}{said}")).unwrap();
        } else if said != expected {
            let name = path.file_name().unwrap().display();
            write!(
                failures,
                "== {name}\n-- expected\n{expected}-- said\n{said}"
            )
            .unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn good_trees_load_and_mean_what_is_expected() {
    let mut failures = String::new();
    for folder in entries("good") {
        let tree = match fs::read_to_string(folder.join("layers.txt")) {
            Ok(names) => Tree::of(
                names
                    .lines()
                    .map(|name| {
                        let layer = directory::read(&folder.join(name)).unwrap();
                        let files = layer
                            .files()
                            .map(|(name, bytes)| (name.to_string(), bytes.to_vec()));
                        Layer::new(name, files, Provenance::default())
                    })
                    .collect(),
            ),
            Err(_) => Tree::of(vec![directory::read(&folder).unwrap()]),
        };
        let said = match load(&tree, schemas()) {
            Ok(set) => describe(&set),
            Err(problems) => problems.to_string(),
        };
        let judged = judge_with(&tree, &Placeholders);
        assert_eq!(judged.count(Severity::Error), 0, "{judged}");
        let path = folder.join("expected.txt");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if is_blessing() {
            fs::write(&path, said).unwrap();
        } else if said != expected {
            let name = folder.file_name().unwrap().display();
            write!(
                failures,
                "== {name}\n-- expected\n{expected}-- said\n{said}"
            )
            .unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The typed form, one line for each thing.
fn describe(set: &ManifestSet) -> String {
    let mut text = String::new();
    for (name, service) in &set.services {
        let value = &service.value;
        writeln!(
            text,
            "service {name} at {}: {} active={} label={:?} description={:?}",
            service.position, value.service_type.name, value.active, value.label, value.description
        )
        .unwrap();
    }
    for (name, role) in &set.roles {
        let value = &role.value;
        writeln!(
            text,
            "role {name} at {}: active={}",
            role.position, value.active
        )
        .unwrap();
        for row in &value.rows {
            let rule = &row.rule;
            let verbs: Vec<_> = rule.verbs.names().collect();
            writeln!(
                text,
                "  row {}: service={} {:?} {} deny={} requesters={:?} filter={} fields={:?}",
                rule.position,
                row.service.as_ref().map_or("*", |service| service.as_str()),
                rule.pattern,
                verbs.join(","),
                rule.deny,
                row.requesters,
                rule.filter.is_some(),
                rule.fields
            )
            .unwrap();
        }
    }
    for (name, key) in &set.keys {
        let value = &key.value;
        writeln!(
            text,
            "key {name} at {}: active={} role={} digests={} from={:?} until={:?} query={} lookup={:?}",
            key.position,
            value.active,
            value.role.as_ref().map_or("none", |role| role.as_str()),
            value.sha256.len(),
            value.not_before.map(|moment| moment.utc().to_rfc3339()),
            value.expires.map(|moment| moment.utc().to_rfc3339()),
            value.allow_query,
            value.lookup
        )
        .unwrap();
    }
    for (name, lookup) in &set.lookups {
        writeln!(
            text,
            "lookup {name} at {}: {}",
            lookup.position, lookup.value
        )
        .unwrap();
    }
    for expectation in &set.expectations {
        writeln!(
            text,
            "expect at {}: {} with {} is {} rule={:?} at={:?} description={:?}",
            expectation.position,
            expectation.question,
            expectation.key,
            expectation.answer.name(),
            expectation.rule,
            expectation.at.map(|moment| moment.utc().to_rfc3339()),
            expectation.description
        )
        .unwrap();
    }
    writeln!(text, "{:?}", set.gateway).unwrap();
    for warning in &set.warnings {
        writeln!(text, "warning {}", warning.message).unwrap();
    }
    text
}

const SERVICE: &str =
    "[service.orders]\ntype = \"example\"\n[service.orders.config]\nhost = \"db\"\n";

#[test]
fn bytes_that_are_no_text_are_pointed_at() {
    for (bytes, line, column) in [
        (&b"[role.a]\n# \xff\n"[..], 2, 3),
        (b"\xef\xbb\xbf[role.a]\n# \xff", 2, 3),
        (b"[role.a]\n# \0\n", 2, 3),
        (b"\xff\xfe[\0r\0", 1, 1),
    ] {
        let problems = judge(&tree([("a.toml", bytes)]));
        let place = problems.iter().next().unwrap().place.as_ref().unwrap();
        let found = (place.position.line, place.position.column);
        assert_eq!(found, (line, column), "{problems}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}{}", SERVICE.replace('\n', "\r\n"));
    let set = load_text(&text).unwrap();
    assert_eq!(set.services.len(), 1);
    let problems = load_text(&text.replace("host", "hots")).unwrap_err();
    assert!(
        problems.to_string().contains("  4 | hots = \"db\"\n"),
        "{problems}"
    );
}

#[test]
fn a_line_of_ten_megabytes_is_refused_and_a_long_one_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("a = \"{}\"", "x".repeat(10_000_000));
    fs::write(folder.path().join("a.toml"), &line).unwrap();
    let error = directory::read(folder.path()).unwrap_err();
    assert!(
        error.message.contains(&MAX_FILE_BYTES.to_string()),
        "{error}"
    );
    let said = load_text(&line).unwrap_err().to_string();
    assert!(said.len() < 1000, "{} bytes", said.len());
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}", "{ a = ".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        format!("[service.x.config]\n{}a = 1", "a.".repeat(79)),
    ] {
        let problems = load_text(&text).unwrap_err();
        assert!(!problems.is_empty());
    }
}

#[test]
fn a_tree_without_manifests_says_so() {
    let said = judge(&tree([])).to_string();
    assert!(
        said.starts_with("error: there are no manifests in the tree"),
        "{said}"
    );
    let said = judge(&tree([("a.toml", &b"# nothing\n"[..])])).to_string();
    assert!(
        said.starts_with("error: the manifests in the tree say nothing"),
        "{said}"
    );
    let set = load_text("[gateway]\nallow_empty = true\n").unwrap();
    assert!(set.is_empty() && set.gateway.allow_empty);
}

#[test]
fn secrets_are_resolved_and_a_rotated_one_is_another_config() {
    let text = format!("{SERVICE}password = {{ env = \"SET\" }}\n");
    let set = load_text(&text).unwrap();
    let configs = |value| set.configs(&Vault(value)).unwrap();
    let (one, same, other) = (configs("one"), configs("one"), configs("other"));
    let config = |configs: &Configs| Arc::clone(&configs.services["orders"]);
    assert!(config(&one).same_as(config(&same).as_ref()));
    assert!(!config(&one).same_as(config(&other).as_ref()));
    let typed = config(&one);
    let typed = typed.as_any().downcast_ref::<ExampleConfig>().unwrap();
    assert_eq!(typed.password, Some(Secret::new("one")));
}

#[test]
fn comments_order_and_spelt_out_defaults_do_not_make_another_config() {
    let config = |text: &str| {
        let set = load_text(text).unwrap();
        Arc::clone(&set.configs(&Vault("x")).unwrap().services["orders"])
    };
    let one = config(SERVICE);
    let other = config(
        "# the same\n[service.orders.config]\nport = 5432\nhost = 'db'\n[service.orders]\ntype = \"sample\"\n",
    );
    assert!(one.same_as(other.as_ref()));
}

#[test]
fn no_diagnostic_shows_a_literal_secret() {
    for text in [
        "password = \"hunter2\"\n",
        "password = [\"hunter2\"]\n",
        "password = { vault = \"hunter2\" }\n",
        "password = { age = \"hunter2\" }\n",
        "password = { age = [\"hunter2\"] }\n",
        "password = { plain = \"hunter2\", env = \"X\" }\n",
        "password = { plain = \"hunter2\" \n",
        "password = \"hunter2\nport = 1\n",
        "pasword = \"hunter2\"\n",
        "replicas = [{ host = 1, password = \"hunter2\" }]\n",
    ] {
        let problems = load_text(&format!("{SERVICE}{text}")).unwrap_err();
        for said in [problems.to_string(), problems.to_json().to_string()] {
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    // A key where its digest should stand.
    let digest = "ab".repeat(32);
    for text in [
        "sha256 = [\"hunter2\"]".to_owned(),
        "sha256 = \"hunter2\"".to_owned(),
        "sha256 = ['hunter2'] # \"hunter2\"".to_owned(),
        format!("sha256 = [\"hunter2\", \"{digest}\", \"short\", 'hunter2']"),
        format!(
            "sha256 = [{}\"hunter2\", \"x\"]",
            format!("\"{digest}\", ").repeat(3)
        ),
    ] {
        let problems =
            load_text(&format!("[role.r]\n[key.k]\nrole = \"r\"\n{text}\n")).unwrap_err();
        for said in [problems.to_string(), problems.to_json().to_string()] {
            assert!(!said.contains("hunter2"), "{said}");
            assert!(said.contains("tidegate key hash"), "{said}");
        }
    }
}

#[test]
fn the_schema_for_editors_accepts_what_loads_and_refuses_what_does_not() {
    let schema = tidegate::manifest::schema::editor_schema(TYPES);
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let accepts = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        validator.is_valid(&serde_json::to_value(table).unwrap())
    };
    assert!(accepts(SERVICE));
    assert!(accepts(&format!("{SERVICE}password = {{ env = \"X\" }}\n")));
    assert!(accepts(&format!("{SERVICE}password = {{ age = \"X\" }}\n")));
    assert!(accepts("[service.orders]\ntype = \"sample\"\n"));
    assert!(!accepts("[service.orders]\ntype = \"exampel\"\n"));
    assert!(!accepts(&format!("{SERVICE}prot = 1\n")));
    assert!(!accepts(&format!("{SERVICE}password = \"x\"\n")));
    assert!(!accepts("[service.Orders]\ntype = \"sample\"\n"));
    assert!(!accepts("[rol.reader]\n"));
    assert!(!schema.to_string().contains("x-expected"));
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
}

#[test]
fn every_table_with_a_name_may_override() {
    let schema = tidegate::manifest::schema::editor_schema(TYPES);
    let resolved = |part: &Value| -> Value {
        let reference = part.get("$ref").or_else(|| part.pointer("/allOf/0/$ref"));
        let pointer = reference.and_then(|text| text.as_str()?.strip_prefix('#'));
        pointer
            .map_or(part, |pointer| schema.pointer(pointer).unwrap())
            .clone()
    };
    let mut names = Vec::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let table = resolved(property);
        // A list is added to, and a table that stands for itself is its own entry.
        let entry = match table.get("additionalProperties") {
            Some(entry @ Value::Object(_)) => resolved(entry),
            _ if table["type"] == "array" => continue,
            _ => table,
        };
        assert_eq!(entry["properties"]["override"]["type"], "boolean", "{name}");
        names.push(name.as_str());
    }
    assert!(names.len() >= 5, "{names:?}");
}

/// Runs the real command.
fn tidegate(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn the_command_answers_0_for_good_1_for_problems_and_2_for_misuse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("a.toml"), "[role.reader]\n").unwrap();
    let (code, output, errors) = tidegate(&["check", path], "");
    assert_eq!(
        (code, output.as_str(), errors.as_str()),
        (Some(0), "no problems in 1 file\n", "")
    );
    fs::write(folder.path().join("a.toml"), "[roll.reader]\n").unwrap();
    let (code, output, _) = tidegate(&["check", path], "");
    assert_eq!(code, Some(1));
    assert!(
        output.contains("did you mean `role`?") && !output.contains('\u{1b}'),
        "{output}"
    );
    let (code, output, _) = tidegate(&["check", "--format", "json", path], "");
    assert_eq!(code, Some(1));
    let value: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(value["trees"][0]["errors"], 1);
    let (code, output, errors) = tidegate(&["chek"], "");
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(errors.contains("check"), "{errors}");
}

#[test]
fn the_command_hashes_a_key_from_standard_input() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    let (code, output, _) = tidegate(&["key", "hash"], "abc\n");
    assert_eq!((code, output.as_str()), (Some(0), digest));
    let (code, output, errors) = tidegate(&["key", "hash"], "");
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(errors.contains("the key is empty"), "{errors}");
}

/// Lines that mean something together in many ways.
const LINES: &[&str] = &[
    "[service.orders]",
    "[service.orders.config]",
    "type = \"example\"",
    "host = \"db\"",
    "host = 'a b'",
    "port = 5433",
    "port = \"x\"",
    "password = { env = \"SET\" }",
    "password = \"x\"",
    "service.other.type = \"sample\"",
    "service.other.config.host = \"b\"",
    "[role.reader]",
    "[[role.reader.access]]",
    "[[role]]",
    "[role]",
    "service = \"orders\"",
    "component = \"_table/*\"",
    "verbs = [\"GET\"]",
    "verbs = [\"GET\", 'POST']",
    "filter = \"a = {lookup.b}\"",
    "filter = \"\"\"\\\n  a\"\"\"",
    "fields = [\"a\"]",
    "access = [{}]",
    "[key.demo]",
    "role = \"reader\"",
    "sha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]",
    "expires = 2027-01-01T00:00:00Z",
    "expires = 2027-01-01",
    "[lookup]",
    "b = \"c\"",
    "b.c = \"d\"",
    "[[expect]]",
    "[expect]",
    "key = \"demo\"",
    "request = \"GET /orders/_table/a\"",
    "request = \"GET\"",
    "answer = \"denied\"",
    "rule = { component = \"*\" }",
    "[gateway]",
    "max_body_bytes = 0x10",
    "trusted_proxies = [\"10.0.0.0/8\"]",
    "x = [1, {",
    "\"\" = 1",
    "= 1",
    "a = inf",
    "a = 99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,200}") {
        let _ = load_text(&text).map_err(|problems| problems.to_string());
    }

    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&tree([("a.toml", bytes.as_slice())]), schemas()).map_err(|problems| problems.to_string());
    }

    #[test]
    fn any_order_of_lines_is_loaded_or_refused(
        lines in proptest::collection::vec(proptest::sample::select(LINES), 0..14),
        cut in 0_usize..400,
    ) {
        let text = lines.join("\n");
        let cut = text.floor_char_boundary(cut);
        for text in [text.as_str(), text.get(..cut).unwrap_or(&text)] {
            let _ = judge(&tree([("a.toml", text.as_bytes())])).to_string();
        }
    }

    #[test]
    fn any_order_of_tables_is_loaded_or_refused(
        lines in proptest::collection::vec((0_usize..5, "[ab](\\.[abc]){0,2}"), 0..8),
    ) {
        let lines: Vec<String> = lines
            .iter()
            .map(|(kind, path)| match kind {
                0 => format!("[{path}]"),
                1 => format!("[[{path}]]"),
                2 => format!("{path} = 1"),
                3 => format!("{path} = {{ a = 1 }}"),
                _ => format!("{path} = [{{}}]"),
            })
            .collect();
        let text = lines.join("\n");
        let _ = load_text(&text).map_err(|problems| problems.to_string());
    }

    #[test]
    fn names_and_order_of_files_never_matter(
        blocks in Just(BLOCKS.to_vec()).prop_shuffle(),
        cuts in proptest::collection::vec(0_usize..BLOCKS.len(), 0..4),
    ) {
        let mut files: Vec<String> = vec![String::new()];
        for (index, block) in blocks.iter().enumerate() {
            if cuts.contains(&index) {
                files.push(String::new());
            }
            files.last_mut().unwrap().push_str(block);
        }
        let names: Vec<String> = (0..files.len()).map(|index| format!("{index}.toml")).collect();
        let tree = tree(names.iter().map(String::as_str).zip(files.iter().map(String::as_bytes)));
        let set = load(&tree, schemas()).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        prop_assert_eq!(without_positions(&set), without_positions(&load_text(&BLOCKS.concat()).unwrap()));
    }
}

/// How many kinds of table [`table`] writes.
const TABLES: usize = 8;
/// The layers of the properties, the lowest first.
const LAYERS: [&str; 3] = ["base", "prod", "host"];

/// One table as a layer writes it; `more` stands below its header.
fn table(kind: usize, layer: usize, more: &str) -> String {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015";
    let row = "service = \"orders\"\ncomponent = \"*\"\nfilter = \"a = {lookup.region}\"";
    match kind {
        0 => format!("[service.orders]\n{more}type = \"example\"\nconfig.host = \"h{layer}\"\n"),
        1 => format!(
            "[service.stock]\n{more}type = \"sample\"\nlabel = \"{layer}\"\nconfig.host = \"h\"\n"
        ),
        2 => format!(
            "[role.reader]\n{more}[[role.reader.access]]\n{row}\nverbs = [\"GET\"]\nfields = [\"f{layer}\"]\n"
        ),
        3 => format!(
            "[role.writer]\n{more}active = {}\n[[role.writer.access]]\n{row}\nverbs = [\"POST\"]\n",
            layer > 0
        ),
        4 => format!(
            "[key.one]\n{more}role = \"reader\"\nlabel = \"{layer}\"\nsha256 = [\"{digest}ad\"]\n"
        ),
        5 => format!(
            "[key.two]\n{more}role = \"writer\"\nallow_query = {}\nsha256 = [\"{digest}0{layer}\"]\n",
            layer > 1
        ),
        6 => format!("[gateway]\n{more}max_in_flight = {}\n", layer + 1),
        _ => format!("[lookup.region]\n{more}value = \"{layer}\"\n"),
    }
}

/// Whether a layer is among those of `places`, one bit for each.
fn has(places: usize, layer: usize) -> bool {
    places & (1 << layer) != 0
}

/// The tables of each layer: table `kind` stands in the layers of `places[kind]`, and overrides in all but the lowest.
fn tables_of_layers(places: &[usize]) -> Vec<Vec<String>> {
    (0..LAYERS.len())
        .map(|layer| {
            let here = places
                .iter()
                .enumerate()
                .filter(|(_, places)| has(**places, layer));
            here.map(|(kind, places)| {
                let is_above = (0..layer).any(|lower| has(*places, lower));
                table(kind, layer, if is_above { "override = true\n" } else { "" })
            })
            .collect()
        })
        .collect()
}

/// Puts every table of every layer in one of three files, in an order that follows from `shuffle`.
fn files_of_layers(
    tables: &[Vec<String>],
    shuffle: &[usize],
) -> Vec<(&'static str, Vec<(String, String)>)> {
    let mut numbers = shuffle.iter().copied().cycle();
    let mut number = || numbers.next().unwrap();
    LAYERS
        .into_iter()
        .zip(tables)
        .map(|(label, tables)| {
            let mut ordered: Vec<(usize, &String)> =
                tables.iter().map(|text| (number(), text)).collect();
            ordered.sort();
            let mut files = vec![(String::new(), String::new()); 3];
            for (_, text) in ordered {
                files.get_mut(number() % 3).unwrap().1.push_str(text);
            }
            for (index, (name, _)) in files.iter_mut().enumerate() {
                *name = format!("{}/{index}.toml", number() % 5);
            }
            (label, files)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_mean_what_a_merge_by_hand_means_in_whatever_files(
        places in proptest::collection::vec(1_usize..8, TABLES),
        shuffle in proptest::collection::vec(0_usize..1000, 7..60),
    ) {
        let tables = tables_of_layers(&places);
        let files = files_of_layers(&tables, &shuffle);
        let set = load(&layered(&files), schemas())
            .map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        let merged: String = places
            .iter()
            .enumerate()
            .map(|(kind, places)| table(kind, (0..3).rev().find(|layer| has(*places, *layer)).unwrap(), ""))
            .collect();
        prop_assert_eq!(without_positions(&set), without_positions(&load_text(&merged).unwrap()));
        // The order of the layers does matter.
        let mut turned = files;
        turned.reverse();
        let replaces = places.iter().any(|places| places.count_ones() > 1);
        prop_assert_eq!(load(&layered(&turned), schemas()).is_err(), replaces);
    }

    #[test]
    fn a_problem_in_a_layer_is_shown_at_its_place(
        places in proptest::collection::vec(1_usize..8, TABLES),
        shuffle in proptest::collection::vec(0_usize..1000, 7..60),
        (layer, kind, indent) in (0_usize..3, 0_usize..TABLES, 0_usize..9),
    ) {
        let mut tables = tables_of_layers(&places);
        // Replaced or not: what is wrong by itself is wrong.
        let wrong = format!("{}oops = 1\n", " ".repeat(indent));
        let lowest = (0..3).find(|layer| has(places[kind], *layer)).unwrap();
        let more = if layer > lowest { "override = true\n" } else { "" };
        let text = table(kind, layer, &format!("{wrong}{more}"));
        prop_assume!(has(places[kind], layer));
        let mut above = places.iter().take(kind).filter(|places| has(**places, layer));
        tables[layer][above.by_ref().count()] = text;
        let files = files_of_layers(&tables, &shuffle);
        let problems = load(&layered(&files), schemas()).unwrap_err();
        let (label, files) = &files[layer];
        let (name, text) = files.iter().find(|(_, text)| text.contains("oops")).unwrap();
        let line = text.lines().position(|line| line.contains("oops")).unwrap() + 1;
        let shown: Vec<String> = problems
            .iter()
            .map(|problem| problem.place.as_ref().unwrap().position.to_string())
            .collect();
        prop_assert_eq!(shown, [format!("{label}/{name}:{line}:{}", indent + 1)]);
    }
}

const BLOCKS: [&str; 8] = [
    "[service.orders]\ntype = \"example\"\nconfig.host = \"a\"\n",
    "[service.stock]\ntype = \"sample\"\nactive = false\nconfig.host = \"b\"\n",
    "[role.reader]\n[[role.reader.access]]\nservice = \"orders\"\ncomponent = \"*\"\nverbs = [\"GET\"]\n",
    "[role.writer]\n[[role.writer.access]]\nservice = \"*\"\ncomponent = \"*\"\nverbs = [\"GET\", \"POST\"]\n",
    "[key.one]\nrole = \"reader\"\nsha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\n",
    "[key.two]\nrole = \"writer\"\nsha256 = [\"aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\n",
    "[[expect]]\nkey = \"one\"\nrequest = \"GET /orders\"\nanswer = \"allowed\"\n",
    "[gateway]\nmax_in_flight = 5\n",
];

fn without_positions(set: &ManifestSet) -> Vec<String> {
    describe(set)
        .lines()
        .map(|line| {
            line.split(' ')
                .filter(|word| !word.contains(".toml:"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// What files may say on their own and together, right and wrong.
const PIECES: &[&str] = &[
    BLOCKS[0],
    BLOCKS[1],
    BLOCKS[2],
    BLOCKS[3],
    BLOCKS[4],
    BLOCKS[5],
    BLOCKS[6],
    BLOCKS[7],
    "[service.vault]\ntype = \"example\"\nconfig = { host = \"c\", password = { env = \"SET\" } }\n",
    "[service.vault]\ntype = \"example\"\nconfig = { host = \"c\", password = { env = \"NOT_SET\" } }\n",
    "[service.bad]\ntype = \"example\"\nconfig.host = \"a b\"\n",
    "[service.bad]\ntype = \"exampel\"\n",
    "[service.orders]\ntype = \"example\"\nconfig.host = \"elsewhere\"\n",
    "[role.seller]\n[[role.seller.access]]\nservice = \"ordres\"\ncomponent = \"*\"\nverbs = [\"GET\"]\nfilter = \"a = {lookup.region}\"\n",
    "[role.twice]\naccess = [{ service = \"*\", component = \"*\", verbs = [\"GET\"], filter = \"a = 1\" }, { service = \"*\", component = \"*\", verbs = [\"GET\"] }]\n",
    "[key.three]\nsha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\nlookup = { region = \"north\" }\n",
    "[lookup]\nregion = \"south\"\n",
    "[lookup]\nregion = \"north\"\n",
    "[lookup]\nreigon = \"south\"\n",
    "[lookup.region]\noverride = true\nvalue = \"above\"\n",
    "[service.orders]\noverride = true\ntype = \"example\"\nconfig.host = \"above\"\n",
    "[key.one]\noverride = true\nsha256 = [\"ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]\n",
    "[gateway]\noverride = true\nmax_in_flight = 6\n",
    "[[expect]]\nkey = \"one\"\nrequest = \"GET /orders/_table/a\"\nanswer = \"denied\"\nrule = { role = \"reader\", service = \"*\" }\n",
    "[service.orders]\ntype = \"example\"\nconfig.host = \"z\"\n",
    "[service.ordesr]\ntype = \"example\"\nconfig.host = \"a\"\n",
    "[service.orders]\ntype = \"exampel\"\nconfig.host = \"a\"\n",
    "[service.Capital]\ntype = \"example\"\n",
    "a = \n",
    "# nothing\n",
];

/// Everything that can be seen of a loaded tree.
fn seen(
    loaded: std::result::Result<ManifestSet, Diagnostics>,
    vault: &Vault,
) -> std::result::Result<(String, Configs), String> {
    let set = loaded.map_err(|problems| problems.to_string())?;
    let configs = set
        .configs(vault)
        .map_err(|problems| problems.to_string())?;
    let text = format!("{}{:?}{:?}", describe(&set), set.expectations, set.warnings);
    Ok((text, configs))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_loaded_before_never_changes_what_a_tree_says(
        edits in proptest::collection::vec(
            (
                proptest::collection::vec((0_usize..4, proptest::collection::vec(0..PIECES.len(), 0..3)), 0..3),
                0_usize..3,
                proptest::sample::select(vec!["", "gateway.d"]),
                proptest::sample::select(vec!["one", "other"]),
            ),
            1..8,
        ),
    ) {
        let mut cache = Cache::default();
        let mut files = vec![BLOCKS.concat(), String::new(), String::new(), String::new()];
        for (changed, layered, label, value) in edits {
            for (file, pieces) in changed {
                files[file] = pieces.iter().map(|piece| PIECES[*piece]).collect();
            }
            let layer = |label: &str, files: &[String]| {
                let files = files.iter().enumerate().map(|(index, text)| {
                    (format!("{index}.toml"), text.clone().into_bytes())
                });
                Layer::new(label, files, Provenance::default())
            };
            let tree = Tree::of(match layered {
                0 => vec![layer("base", &files[..2]), layer("prod", &files[2..])],
                _ => vec![layer(label, &files)],
            });
            let vault = Vault(value);
            let again = seen(load_again(&tree, schemas(), &mut cache), &vault);
            let anew = seen(load(&tree, schemas()), &vault);
            match (again, anew) {
                (Ok((again, its)), Ok((anew, own))) => {
                    prop_assert_eq!(again, anew);
                    prop_assert_eq!(its.services.len(), own.services.len());
                    for (name, config) in its.services {
                        prop_assert!(config.same_as(own.services[name.as_str()].as_ref()));
                    }
                }
                (again, anew) => prop_assert_eq!(again.err(), anew.err()),
            }
        }
    }
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let mut cache = Cache::default();
    let secret =
        "[service.vault]\ntype = \"example\"\nconfig.host = \"c\"\nconfig.password.env = \"SET\"\n";
    let mut load = |changing: &str, value| {
        let texts = [
            ("a.toml", BLOCKS[0]),
            ("b.toml", changing),
            ("c.toml", secret),
        ];
        let tree = tree(texts.map(|(name, text)| (name, text.as_bytes())));
        let set = load_again(&tree, schemas(), &mut cache).unwrap();
        let configs = set.configs(&Vault(value)).unwrap();
        (set, configs)
    };
    let (first, first_configs) = load(BLOCKS[1], "one");
    let (second, second_configs) = load(&BLOCKS[1].replace('b', "B"), "one");
    let (_, third_configs) = load(BLOCKS[1], "other");
    for (name, is_kept) in [("orders", true), ("stock", false), ("vault", true)] {
        assert_eq!(
            Arc::ptr_eq(&first.services[name], &second.services[name]),
            is_kept,
            "{name}"
        );
        let (one, two) = (
            &first_configs.services[name],
            &second_configs.services[name],
        );
        assert_eq!(Arc::ptr_eq(one, two), is_kept, "{name}");
    }
    let same = |name: &str| {
        let (two, three) = (
            &second_configs.services[name],
            &third_configs.services[name],
        );
        Arc::ptr_eq(two, three)
    };
    assert!(same("orders") && !same("vault"), "its secret was rotated");
}
