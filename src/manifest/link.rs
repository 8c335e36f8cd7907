//! From files to one set: names that must be unique, names that must exist, rows that must agree. Pure.
//!
//! In a tree of layers the table of the highest layer counts. It must say `override = true` where it replaces one, and
//! what it replaces is checked by itself, but not against the others: nothing needs what is replaced.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cache::Cache;
use super::diagnostic::{Diagnostic, Diagnostics, Position};
use super::document::{Document, join};
use super::expect::{ExpectTable, Expectation, ExpectedRule, RuleTable};
use super::gateway::Gateway;
use super::key::KeyTable;
use super::lookup::LookupEntry;
use super::role::RoleTable;
use super::schema::{Finding, NAME_HELP, NAMED_TABLES, OVERRIDE, Schemas, is_reserved, list};
use super::secrets::{Misplaced, written};
use super::service::{Memo, Service, ServiceTable};
use super::{ContractFile, Documents, Located, ManifestSet};
use crate::auth::key::KeyDigest;
use crate::auth::role::{AccessRow, CompiledRow, Role, RowProblem, compile, conflicts};
use crate::auth::route::Question;
use crate::connector::Family;
use crate::connector::access::Pattern;
use crate::connector::filter::{Filter, Operand};
use crate::error::nearest;
use crate::names::{KeyName, RoleName, ServiceName, is_name};
use crate::network::Network;
use crate::tree::{Layer, Tree, sidecar};

/// Most names that a load compares for "did you mean": where thousands are missing, a folder is, and not a letter.
const MAX_LIKENESSES: usize = 200_000;

/// A place in one of the documents.
#[derive(Clone, Copy)]
struct Spot<'a> {
    document: &'a Arc<Document>,
    pointer: &'a str,
}

/// What one file says by itself: all of it that does not depend on other files, nor on the layer.
pub(super) struct Part {
    document: Arc<Document>,
    problems: Vec<Diagnostic>,
    /// The tables that have names, and `[gateway]` under the empty one.
    tables: Vec<Table>,
    expectations: Vec<Arc<Expectation>>,
    /// What the access tests mention.
    mentions: Vec<Mention>,
}

/// A table that has a name.
struct Table {
    kind: &'static str,
    name: Box<str>,
    position: Position,
    /// What it says of replacing one in a layer below.
    overrides: Option<bool>,
    /// The names of lookups that a key has for itself.
    key_lookups: Vec<Box<str>>,
    /// What it says; none where that is wrong.
    content: Option<Content>,
    /// The names in it that must be declared somewhere, if it counts.
    mentions: Vec<Mention>,
    /// What somebody should look at, if it counts.
    warnings: Vec<Diagnostic>,
}

enum Content {
    Service(ServiceName, Arc<Located<Service>>),
    Role(RoleName, Arc<Located<Role>>),
    Key(KeyName, Arc<Located<KeyTable>>, KeyPlaces),
    Lookup(Located<String>),
    Gateway(Box<Gateway>),
}

/// Where some of what a key says stands.
struct KeyPlaces {
    role: Option<Position>,
    digests: Vec<Digest>,
}

/// The digest of a key.
struct Digest {
    of_key: KeyDigest,
    pointer: String,
    position: Position,
}

/// A name that must be declared somewhere in the tree.
struct Mention {
    kind: &'static str,
    name: Box<str>,
    /// JSON pointer of the text that has it.
    pointer: String,
    /// Where in that text, and how long, in characters; none for the whole.
    part: Option<(usize, usize)>,
    /// What follows from its absence.
    note: &'static str,
}

impl Mention {
    fn new(kind: &'static str, name: &str, pointer: String) -> Self {
        Self {
            kind,
            name: name.into(),
            pointer,
            part: None,
            note: "",
        }
    }
}

/// Reads one file.
struct Reader<'a> {
    schemas: &'a Schemas,
    /// What stands before file names in messages.
    label: &'a str,
    part: Part,
}

/// Where a name is written: the lowest layer that does, and the highest, which counts.
#[derive(Clone, Copy)]
struct Declaration<'a> {
    lowest: usize,
    layer: usize,
    /// The first place in the highest layer.
    position: &'a Position,
}

/// Where each name is written, by kind of table and name.
struct Names<'a>(HashMap<(&'static str, &'a str), Declaration<'a>>);

impl<'a> Names<'a> {
    /// The names of a kind, sorted.
    fn of(&self, kind: &str, is_meant: impl Fn(&Declaration<'a>) -> bool) -> BTreeSet<&'a str> {
        self.0
            .iter()
            .filter(|((of, _), declaration)| *of == kind && is_meant(declaration))
            .map(|((_, name), _)| *name)
            .collect()
    }

    /// Whether no higher layer than `layer` writes the name of a table.
    fn counts(&self, table: &Table, layer: usize) -> bool {
        self.0
            .get(&(table.kind, &*table.name))
            .is_none_or(|declaration| declaration.layer == layer)
    }
}

/// Puts together what the files say.
struct Linker<'a> {
    problems: Vec<Diagnostic>,
    names: Names<'a>,
    /// The names of lookups that keys have for themselves.
    key_lookups: BTreeSet<&'a str>,
    /// Whether every file could be read: if not, what seems to be missing may stand in the part that could not.
    is_whole: bool,
    /// How many layers the tree has.
    layers: usize,
    digests: HashMap<KeyDigest, (&'a KeyName, &'a Position)>,
    /// How many names may still be compared.
    likenesses: usize,
    /// The services, which are sorted once all are there.
    services: Vec<(ServiceName, Arc<Located<Service>>)>,
    set: ManifestSet,
}

pub(super) fn load(
    tree: &Tree,
    schemas: &Schemas,
    cache: &mut Cache,
) -> Result<ManifestSet, Diagnostics> {
    let parts = cache.parts(tree, |name, bytes| {
        Part::read(name, bytes, tree.label(), schemas)
    });
    let tables = parts.iter().map(|(_, part)| part.tables.len()).sum();
    let mut linker = Linker {
        problems: Vec::new(),
        names: Names(HashMap::with_capacity(tables)),
        key_lookups: BTreeSet::new(),
        is_whole: parts.iter().all(|(_, part)| part.document.is_whole),
        layers: tree.layers().len(),
        digests: HashMap::new(),
        likenesses: MAX_LIKENESSES,
        services: Vec::with_capacity(tables),
        set: ManifestSet {
            label: tree.label().to_owned(),
            files: parts.len(),
            documents: Documents(
                parts
                    .iter()
                    .map(|(_, part)| Arc::clone(&part.document))
                    .collect(),
            ),
            ..ManifestSet::default()
        },
    };
    for (layer, part) in &parts {
        linker.declare(*layer, part);
    }
    for (layer, part) in &parts {
        linker.declare_key_lookups(*layer, part);
    }
    for (layer, part) in &parts {
        linker.link(*layer, part);
    }
    linker.finish(tree)
}

/// A position with the label of the tree before it.
fn display(label: &str, position: &Position) -> String {
    match label.trim_end_matches('/') {
        "" => position.to_string(),
        label => format!("{label}/{position}"),
    }
}

/// What people call a table: "the service `orders`".
fn called(kind: &str, name: &str) -> String {
    match kind {
        "gateway" => "the table `gateway`".to_owned(),
        kind => format!("the {kind} `{name}`"),
    }
}

impl Part {
    /// Reads a file. `label` stands before file names in messages.
    fn read(file: Arc<str>, bytes: &[u8], label: &str, schemas: &Schemas) -> Self {
        let mut problems = Vec::new();
        let (document, value) = Document::parse(file, bytes, &mut problems);
        let document = Arc::new(document);
        let mut reader = Reader {
            schemas,
            label,
            part: Self {
                document: Arc::clone(&document),
                problems,
                tables: Vec::new(),
                expectations: Vec::new(),
                mentions: Vec::new(),
            },
        };
        reader.names(&document, &value);
        // What could be read of a broken file is only good for the names in it.
        if document.is_whole {
            reader.document(&document, &value);
        }
        reader.part
    }
}

impl Reader<'_> {
    fn error(&mut self, spot: Spot<'_>, message: impl Into<String>, help: impl Into<String>) {
        let place = spot.document.value_place(spot.pointer);
        self.problem(Diagnostic::error(place, message).with_help(help));
    }

    fn problem(&mut self, problem: Diagnostic) {
        self.part.problems.push(problem);
    }

    /// Notes every name in a file.
    fn names(&mut self, document: &Arc<Document>, value: &Value) {
        for kind in NAMED_TABLES.into_iter().chain(["lookup"]) {
            let Some(Value::Object(entries)) = value.get(kind) else {
                continue;
            };
            for (name, table) in entries {
                let pointer = join(&format!("/{kind}"), name);
                self.name(kind, name, document, &pointer, table);
                if !is_name(name) {
                    self.no_name(document, &pointer, name, kind);
                } else if kind == "service" && is_reserved(name) {
                    self.problem(
                        Diagnostic::error(
                            document.key_place(&pointer),
                            format!("the service name `{name}` is kept for the gateway itself"),
                        )
                        .with_help(format!(
                            "choose another name than {}",
                            list(ServiceName::RESERVED)
                        )),
                    );
                }
            }
        }
        if let Some(table) = value.get("gateway") {
            self.name("gateway", "", document, "/gateway", table);
        }
    }

    fn name(
        &mut self,
        kind: &'static str,
        name: &str,
        document: &Arc<Document>,
        pointer: &str,
        table: &Value,
    ) {
        let mut key_lookups = Vec::new();
        if kind == "key" {
            let lookups = table.get("lookup").and_then(Value::as_object);
            for name in lookups.into_iter().flat_map(serde_json::Map::keys) {
                key_lookups.push(name.as_str().into());
                if !is_name(name) {
                    let pointer = join(&join(pointer, "lookup"), name);
                    self.no_name(document, &pointer, name, "lookup");
                }
            }
        }
        self.part.tables.push(Table {
            kind,
            name: name.into(),
            position: match kind {
                "lookup" => document.key_position(pointer),
                _ => document.value_position(pointer),
            },
            overrides: overrides(table),
            key_lookups,
            content: None,
            mentions: Vec::new(),
            warnings: Vec::new(),
        });
    }

    fn no_name(&mut self, document: &Document, pointer: &str, name: &str, table: &str) {
        let message = format!("`{name}` is not a name for a {table}");
        let diagnostic = Diagnostic::error(document.key_place(pointer), message);
        self.problem(diagnostic.with_help(NAME_HELP));
    }

    /// Reads every table of a file. They come in the order in which their names were noted.
    fn document(&mut self, document: &Arc<Document>, value: &Value) {
        let mut findings = self.schemas.check_file(document, value);
        let mut tables = std::mem::take(&mut self.part.tables);
        for table in &mut tables {
            let (kind, name) = (table.kind, &*table.name);
            let pointer = match kind {
                "gateway" => "/gateway".to_owned(),
                kind => join(&format!("/{kind}"), name),
            };
            let spot = Spot {
                document,
                pointer: &pointer,
            };
            let value = match kind {
                "gateway" => value.get(kind),
                kind => value.get(kind).and_then(|entries| entries.get(name)),
            };
            let Some(value) = value else {
                continue;
            };
            table.content = match kind {
                "service" => self.service(spot, name, value, &mut findings, &mut table.mentions),
                "role" => self.role(spot, name, value, &findings, &mut table.mentions),
                _ if !is_sound(&pointer, &findings) => None,
                "key" => {
                    let key = self.key(spot, name, value, &mut table.mentions);
                    if let Some(Content::Key(_, key, _)) = &key
                        && key.value.role.is_none()
                    {
                        table.warnings.push(
                            Diagnostic::warning(
                                document.value_place(&pointer),
                                format!("the key `{name}` has no role: all its calls will be answered 403"),
                            )
                            .with_help("add role = \"…\""),
                        );
                    }
                    key
                }
                // One wrong value of `[lookup]` puts the others aside as well.
                "lookup" if !is_sound("/lookup", &findings) => None,
                "lookup" => self.typed::<LookupEntry>(spot, value).map(|entry| {
                    Content::Lookup(Located {
                        value: entry.into_value(),
                        position: table.position.clone(),
                    })
                }),
                _ => self.gateway(spot, value),
            };
        }
        self.part.tables = tables;
        let expectations = value.get("expect").and_then(Value::as_array);
        for (index, value) in expectations.into_iter().flatten().enumerate() {
            let pointer = format!("/expect/{index}");
            if is_sound(&pointer, &findings) {
                let spot = Spot {
                    document,
                    pointer: &pointer,
                };
                self.expect(spot, value);
            }
        }
        self.part
            .problems
            .extend(findings.into_iter().map(|finding| finding.diagnostic));
    }

    fn service(
        &mut self,
        spot: Spot<'_>,
        name: &str,
        table: &Value,
        findings: &mut Vec<Finding>,
        mentions: &mut Vec<Mention>,
    ) -> Option<Content> {
        let value = self.service_config(spot, table, findings)?;
        if !is_sound(spot.pointer, findings) {
            return None;
        }
        if value.service_type.family == Family::Database {
            for mention in config_names(&value.pointer, &value.config) {
                if (mention.kind, &*mention.name) == ("service", name) {
                    let place = spot.document.value_place(&mention.pointer);
                    let message = format!("the service `{name}` is this one");
                    let help = "remove `service`: without it, the table is one of this service";
                    self.problem(Diagnostic::error(place, message).with_help(help));
                } else {
                    mentions.push(mention);
                }
            }
        }
        let position = spot.document.value_position(spot.pointer);
        let service = Arc::new(Located { value, position });
        Some(Content::Service(name.parse().ok()?, service))
    }

    /// Types a table that follows its schema. What the schema could not say is reported at the table.
    fn typed<T: DeserializeOwned>(&mut self, spot: Spot<'_>, value: &Value) -> Option<T> {
        match T::deserialize(&*without_override(value)) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.problem(Diagnostic::error(
                    spot.document.value_place(spot.pointer),
                    format!("this table is not accepted: {error}"),
                ));
                None
            }
        }
    }

    /// Looks the type up and validates the config against that one schema.
    fn service_config(
        &mut self,
        spot: Spot<'_>,
        table: &Value,
        findings: &mut Vec<Finding>,
    ) -> Option<Service> {
        let document = spot.document;
        let name = table.get("type")?.as_str()?;
        let Some(service_type) = self.schemas.service_type(name).copied() else {
            let known: Vec<&str> = self.schemas.type_names().collect();
            let help = match (nearest(name, known.iter().copied()), known.as_slice()) {
                (_, []) => "this build of tidegate has no service types".to_owned(),
                (Some(near), _) => {
                    format!("did you mean `{near}`? the types are {}", list(&known))
                }
                (None, _) => format!("the types are {}", list(&known)),
            };
            let pointer = join(spot.pointer, "type");
            let diagnostic = Diagnostic::error(
                document.value_place(&pointer),
                format!("unknown service type `{name}`"),
            );
            findings.push(Finding {
                pointer,
                diagnostic: diagnostic.with_help(help),
            });
            return None;
        };
        let pointer = join(spot.pointer, "config");
        let config = match table.get("config") {
            Some(config @ Value::Object(_)) => config.clone(),
            // A config that is no table is reported already.
            Some(_) => return None,
            None => Value::Object(serde_json::Map::new()),
        };
        findings.extend(
            self.schemas
                .check_config(&service_type, document, &config, &pointer),
        );
        let mut secrets = Vec::new();
        for secret in self.schemas.secret_places(&service_type, &config) {
            let Some(value) = config.pointer(&secret) else {
                continue;
            };
            let key = super::document::segments(&secret)
                .next_back()
                .unwrap_or_default();
            match written(&key, value) {
                Ok(written) => secrets.push((secret, written)),
                Err(misplaced) => {
                    let pointer = format!("{pointer}{secret}");
                    let diagnostic = misplaced_secret(document, &pointer, misplaced);
                    findings.push(Finding {
                        pointer,
                        diagnostic,
                    });
                }
            }
        }
        // The table itself may still be wrong; then `is_sound` drops the service.
        let table = ServiceTable::deserialize(&*without_override(table)).ok()?;
        Some(Service {
            service_type,
            label: table.label,
            description: table.description,
            active: table.active,
            config,
            secrets,
            document: Arc::clone(document),
            pointer,
            typed: Memo::default(),
        })
    }

    fn role(
        &mut self,
        spot: Spot<'_>,
        name: &str,
        value: &Value,
        findings: &[Finding],
        mentions: &mut Vec<Mention>,
    ) -> Option<Content> {
        let mut rows: Vec<CompiledRow> = Vec::new();
        let mut pointers = Vec::new();
        let written = value.get("access").and_then(Value::as_array);
        for (index, row) in written.into_iter().flatten().enumerate() {
            let pointer = format!("{}/access/{index}", spot.pointer);
            // One wrong row does not hide what is wrong with the others.
            if !is_sound(&pointer, findings) {
                continue;
            }
            let position = spot.document.value_position(&pointer);
            let row_spot = Spot {
                document: spot.document,
                pointer: &pointer,
            };
            let Some(row) = self.typed::<AccessRow>(row_spot, row) else {
                continue;
            };
            match compile(&row, Arc::from(position.line())) {
                Ok(compiled) => {
                    row_names(&pointer, &row, &compiled, mentions);
                    rows.push(compiled);
                    pointers.push(pointer);
                }
                Err(problems) => {
                    for problem in problems {
                        self.row_problem(spot.document, &pointer, problem);
                    }
                }
            }
        }
        for conflict in conflicts(&rows) {
            let (Some(first), Some(second)) =
                (pointers.get(conflict.first), pointers.get(conflict.second))
            else {
                continue;
            };
            let other = display(self.label, &spot.document.value_position(first));
            let key = conflict.key;
            let pointer = format!("{second}/{key}");
            self.error(
                Spot {
                    document: spot.document,
                    pointer: &pointer,
                },
                format!(
                    "this row grants {} like the row at {other}, but with a different `{key}`",
                    conflict.verbs.join(", ")
                ),
                "rows for the same component must agree: join the two conditions in one row",
            );
        }
        if !is_sound(spot.pointer, findings) {
            return None;
        }
        let table = self.typed::<RoleTable>(spot, value)?;
        let name: RoleName = name.parse().ok()?;
        let role = Role {
            name: name.clone(),
            description: table.description,
            active: table.active,
            rows,
        };
        let value = Located {
            value: role,
            position: spot.document.value_position(spot.pointer),
        };
        Some(Content::Role(name, Arc::new(value)))
    }

    fn row_problem(&mut self, document: &Document, pointer: &str, problem: RowProblem) {
        let pointer = format!("{pointer}/{}", problem.key);
        let place = match problem.position {
            Some(characters) => document.text_place(&pointer, characters, 1),
            None => document.value_place(&pointer),
        };
        let message = match problem.position {
            Some(_) => format!("`{}` cannot be read: {}", problem.key, problem.message),
            None => problem.message,
        };
        self.problem(Diagnostic {
            help: problem.help,
            ..Diagnostic::error(place, message)
        });
    }

    fn key(
        &mut self,
        spot: Spot<'_>,
        name: &str,
        value: &Value,
        mentions: &mut Vec<Mention>,
    ) -> Option<Content> {
        let table = self.typed::<KeyTable>(spot, value)?;
        let name: KeyName = name.parse().ok()?;
        let document = spot.document;
        let at = |key: &str| format!("{}/{key}", spot.pointer);
        if let Some(role) = &table.role {
            mentions.push(Mention::new("role", role.as_str(), at("role")));
        }
        if let (Some(start), Some(end)) = (table.not_before, table.expires)
            && start >= end
        {
            let pointer = at("expires");
            let spot = Spot {
                document,
                pointer: &pointer,
            };
            self.error(
                spot,
                "`expires` is not after `not_before`: the key would never be accepted",
                "give it a later moment",
            );
        }
        let digests = table.sha256.iter().enumerate();
        let digests = digests.map(|(index, digest)| {
            let pointer = format!("{}/{index}", at("sha256"));
            Digest {
                of_key: *digest,
                position: document.value_position(&pointer),
                pointer,
            }
        });
        let places = KeyPlaces {
            role: table
                .role
                .as_ref()
                .map(|_| document.value_position(&at("role"))),
            digests: digests.collect(),
        };
        let value = Located {
            value: table,
            position: document.value_position(spot.pointer),
        };
        Some(Content::Key(name, Arc::new(value), places))
    }

    /// An access test. The names in it must exist; whether it holds is asked once the whole tree is good.
    fn expect(&mut self, spot: Spot<'_>, value: &Value) {
        let Some(table) = self.typed::<ExpectTable>(spot, value) else {
            return;
        };
        let document = spot.document;
        let at = |key: &str| format!("{}/{key}", spot.pointer);
        let mention = Mention::new("key", table.key.as_str(), at("key"));
        self.part.mentions.push(mention);
        let question = self.question(spot, &table.request);
        let rule = match table.rule {
            Some(rule) => self.expected_rule(spot, rule).map(Some),
            None => Some(None),
        };
        if let (Some(question), Some(rule)) = (question, rule) {
            self.part.expectations.push(Arc::new(Expectation {
                key: table.key,
                question,
                answer: table.answer,
                rule,
                at: table.at,
                description: table.description,
                position: document.value_position(spot.pointer),
                document: Arc::clone(document),
                pointer: spot.pointer.to_owned(),
            }));
        }
    }

    /// The request of an access test: a method, one space, and a path to a service that is there.
    fn question(&mut self, spot: Spot<'_>, text: &str) -> Option<Question> {
        let document = spot.document;
        let pointer = format!("{}/request", spot.pointer);
        let length = |text: &str| text.chars().count();
        let Some((method, path)) = text.split_once(' ') else {
            let spot = Spot {
                document,
                pointer: &pointer,
            };
            let help = "write request = \"GET /api/v2/SERVICE/_table/TABLE\"";
            self.error(spot, "`request` must be a method and a path", help);
            return None;
        };
        let before_path = length(method) + 1;
        let place = |characters, length| document.text_place(&pointer, characters, length);
        match Question::new(method, path) {
            Ok(question) => {
                if let Some(service) = question.service() {
                    // A name that is written with escapes is pointed at as a whole.
                    let lowered = path.to_ascii_lowercase();
                    let part = match lowered.find(&format!("/{service}")) {
                        Some(offset) => {
                            let before = length(lowered.get(..=offset).unwrap_or_default());
                            (before_path + before, length(service))
                        }
                        None => (before_path, length(path)),
                    };
                    self.part.mentions.push(Mention {
                        part: Some(part),
                        ..Mention::new("service", service, pointer)
                    });
                }
                Some(question)
            }
            Err(invalid) => {
                let place = if invalid.is_method {
                    place(0, length(method))
                } else {
                    place(before_path, length(path))
                };
                self.problem(Diagnostic {
                    help: invalid.help,
                    ..Diagnostic::error(place, invalid.message)
                });
                None
            }
        }
    }

    /// The row that an access test expects to decide.
    fn expected_rule(&mut self, spot: Spot<'_>, table: RuleTable) -> Option<ExpectedRule> {
        let document = spot.document;
        let at = |key: &str| document.value_place(&format!("{}/rule{key}", spot.pointer));
        if table == RuleTable::default() {
            let diagnostic = Diagnostic::error(at(""), "`rule` must say something of the row");
            let help = "write rule = { role = \"…\", service = \"…\", component = \"…\" }, or some of them";
            self.problem(diagnostic.with_help(help));
            return None;
        }
        let pointer = |key: &str| format!("{}/rule/{key}", spot.pointer);
        if let Some(role) = &table.role {
            let mention = Mention::new("role", role.as_str(), pointer("role"));
            self.part.mentions.push(mention);
        }
        if let Some(service) = table.service.as_deref().filter(|service| *service != "*") {
            let mention = Mention::new("service", service, pointer("service"));
            self.part.mentions.push(mention);
        }
        let component = match table.component.as_deref().map(Pattern::parse) {
            None => None,
            Some(Ok(component)) => Some(component),
            Some(Err(message)) => {
                let help = "write the component as the row has it";
                self.problem(Diagnostic::error(at("/component"), message).with_help(help));
                return None;
            }
        };
        Some(ExpectedRule {
            role: table.role,
            service: table.service,
            component,
        })
    }

    fn gateway(&mut self, spot: Spot<'_>, table: &Value) -> Option<Content> {
        let document = spot.document;
        let before = self.part.problems.len();
        let proxies = table.get("trusted_proxies").and_then(Value::as_array);
        for (index, proxy) in proxies.into_iter().flatten().enumerate() {
            if let Err(error) = proxy.as_str().unwrap_or_default().parse::<Network>() {
                self.problem(Diagnostic::error(
                    document.value_place(&format!("/gateway/trusted_proxies/{index}")),
                    error.to_string(),
                ));
            }
        }
        if self.part.problems.len() > before {
            return None;
        }
        let gateway = self.typed::<Gateway>(spot, table)?;
        Some(Content::Gateway(Box::new(gateway)))
    }
}

/// The names in the config of a database, which stands at `pointer`: other services that relations lead to, and lookups
/// that columns are set to. Every service type is a database as yet; when there are others, those are no targets.
fn config_names(pointer: &str, config: &Value) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let tables = config.get("table").and_then(Value::as_object);
    for (table, said) in tables.into_iter().flatten() {
        let pointer = join(&join(pointer, "table"), table);
        let relations = said.get("relation").and_then(Value::as_array);
        for (index, relation) in relations.into_iter().flatten().enumerate() {
            if let Some(service) = relation.get("service").and_then(Value::as_str) {
                let pointer = format!("{pointer}/relation/{index}/service");
                mentions.push(Mention::new("service", service, pointer));
            }
        }
        let columns = said.get("column").and_then(Value::as_object);
        for (column, said) in columns.into_iter().flatten() {
            let pointer = join(&join(&pointer, "column"), column);
            for key in ["default", "on_create", "on_update"] {
                let name = said.get(key).and_then(Value::as_str);
                let name = name
                    .and_then(|text| text.strip_prefix("{lookup."))
                    .and_then(|text| text.strip_suffix('}'));
                if let Some(name) = name {
                    mentions.push(Mention {
                        note: "; until then the column is left to the database",
                        ..Mention::new("lookup", name, join(&pointer, key))
                    });
                }
            }
        }
    }
    mentions
}

/// The names in a row must exist.
fn row_names(pointer: &str, row: &AccessRow, compiled: &CompiledRow, mentions: &mut Vec<Mention>) {
    if let Some(service) = &compiled.service {
        let pointer = format!("{pointer}/service");
        mentions.push(Mention::new("service", service.as_str(), pointer));
    }
    let (Some(text), Some(filter)) = (&row.filter, &compiled.rule.filter) else {
        return;
    };
    let mut names = Vec::new();
    lookups(filter, &mut names);
    for name in names {
        let Some(lookup) = name.strip_prefix("lookup.") else {
            continue;
        };
        let before = text.find(name).and_then(|offset| text.get(..offset));
        mentions.push(Mention {
            part: Some((
                before.map_or(0, |before| before.chars().count()),
                name.chars().count(),
            )),
            note: "; until then the row lets nothing through",
            ..Mention::new("lookup", lookup, format!("{pointer}/filter"))
        });
    }
}

impl<'a> Linker<'a> {
    /// Notes every name in a file. A second one of the same table is an error, in a layer above unless it overrides.
    /// Files come by layers, the lowest first, so that all names below are known by now.
    fn declare(&mut self, layer: usize, part: &'a Part) {
        let document = &part.document;
        for table in &part.tables {
            let (kind, name) = (table.kind, &*table.name);
            let pointer = || match kind {
                "gateway" => "/gateway".to_owned(),
                kind => join(&format!("/{kind}"), name),
            };
            let below = self.names.0.get(&(kind, name)).copied();
            if let Some(first) = below.filter(|below| below.layer == layer) {
                let first = display(&self.set.label, first.position);
                self.problems.push(
                    Diagnostic::error(
                        document.key_place(&pointer()),
                        format!("{} is written twice", called(kind, name)),
                    )
                    .with_help(format!(
                        "the other one is at {first}; rename or remove one of them"
                    )),
                );
                continue;
            }
            match (below, table.overrides) {
                // What a broken file says may be missing in it.
                (Some(below), None) if document.is_whole => {
                    let below = display(&self.set.label, below.position);
                    let mend = match kind {
                        "lookup" => {
                            format!(
                                "write {name} = {{ value = \"…\", override = true }} to replace it"
                            )
                        }
                        _ => "add `override = true` to replace all of it".to_owned(),
                    };
                    let or = match kind {
                        "gateway" => "",
                        _ => ", or rename this one",
                    };
                    self.problems.push(
                        Diagnostic::error(
                            document.key_place(&pointer()),
                            format!("{} is written in a layer below already", called(kind, name)),
                        )
                        .with_help(format!("that one is at {below}; {mend}{or}")),
                    );
                }
                (None, Some(true)) => self.nothing_below(table, layer, document, &pointer()),
                _ => {}
            }
            let declaration = Declaration {
                lowest: below.map_or(layer, |below| below.lowest),
                layer,
                position: &table.position,
            };
            self.names.0.insert((kind, name), declaration);
        }
    }

    /// Whoever overrides what is not there has misspelt its name.
    fn nothing_below(&mut self, table: &Table, layer: usize, document: &Document, pointer: &str) {
        if !self.is_whole {
            return;
        }
        let (kind, name) = (table.kind, &*table.name);
        let below = self
            .names
            .of(kind, |declaration| declaration.lowest < layer);
        let below: Vec<&str> = below.into_iter().collect();
        let help = match (self.near(name, &below), below.as_slice()) {
            (Some(near), _) if kind != "gateway" => {
                format!("did you mean `{near}`? to add a {kind}, remove `override = true`")
            }
            _ if self.layers == 1 => "remove it, or give the layers below as well, the lowest \
                 first: --config LOWER --config THIS"
                .to_owned(),
            _ if layer == 0 => "remove it: this is the lowest layer".to_owned(),
            (_, []) => "remove it".to_owned(),
            (_, below) => format!("remove it; the {kind}s below are {}", list(below)),
        };
        let what = match kind {
            "gateway" => "no table `gateway`".to_owned(),
            kind => format!("no {kind} `{name}`"),
        };
        let place = document.value_place(&format!("{pointer}/override"));
        self.problems.push(
            Diagnostic::error(
                place,
                format!("there is {what} in a layer below that this could replace"),
            )
            .with_help(help),
        );
    }

    /// The name that was probably meant, while there is time to look for it.
    fn near<'n>(&mut self, name: &str, known: &[&'n str]) -> Option<&'n str> {
        self.likenesses = self.likenesses.checked_sub(known.len())?;
        nearest(name, known.iter().copied())
    }

    /// Notes the lookups that keys have for themselves: a filter may use what only some keys have.
    fn declare_key_lookups(&mut self, layer: usize, part: &'a Part) {
        for table in &part.tables {
            if !table.key_lookups.is_empty() && self.names.counts(table, layer) {
                let names = table.key_lookups.iter();
                self.key_lookups.extend(names.map(|name| &**name));
            }
        }
    }

    /// Takes what a file says, and looks for what it mentions. What a layer above replaces is left out.
    fn link(&mut self, layer: usize, part: &'a Part) {
        self.problems.extend(part.problems.iter().cloned());
        for table in &part.tables {
            if self.layers > 1 && !self.names.counts(table, layer) {
                continue;
            }
            self.problems.extend(table.warnings.iter().cloned());
            for mention in &table.mentions {
                self.must_exist(&part.document, mention);
            }
            if let Some(content) = &table.content {
                self.take(content, &table.name, &part.document);
            }
        }
        for mention in &part.mentions {
            self.must_exist(&part.document, mention);
        }
        let expectations = part.expectations.iter().map(Arc::clone);
        self.set.expectations.extend(expectations);
    }

    fn take(&mut self, content: &'a Content, name: &str, document: &Document) {
        let set = &mut self.set;
        match content {
            Content::Service(name, service) => {
                self.services.push((name.clone(), Arc::clone(service)));
            }
            Content::Role(name, role) => {
                let entry = set.roles.entry(name.clone());
                entry.or_insert_with(|| Arc::clone(role));
            }
            Content::Key(name, key, places) => {
                if let Some(position) = &places.role {
                    let entry = set.key_roles.entry(name.clone());
                    entry.or_insert_with(|| position.clone());
                }
                let entry = set.keys.entry(name.clone());
                entry.or_insert_with(|| Arc::clone(key));
                for digest in &places.digests {
                    self.digest(document, name, digest);
                }
            }
            Content::Lookup(value) => {
                let entry = set.lookups.entry(name.to_owned());
                entry.or_insert_with(|| value.clone());
            }
            Content::Gateway(gateway) => set.gateway = gateway.as_ref().clone(),
        }
    }

    fn must_exist(&mut self, document: &Document, mention: &Mention) {
        let (kind, name) = (mention.kind, &*mention.name);
        let is_known = self.names.0.contains_key(&(kind, name))
            || (kind == "lookup" && self.key_lookups.contains(name));
        if !self.is_whole || is_known {
            return;
        }
        let mut known = self.names.of(kind, |_| true);
        if kind == "lookup" {
            known.extend(&self.key_lookups);
        }
        let known: Vec<&str> = known.into_iter().collect();
        let help = match (self.near(name, &known), known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => match kind {
                "lookup" => format!("add it: [lookup] with {name} = \"…\""),
                kind => format!("add it: [{kind}.{name}]"),
            },
            (None, known) => format!("the {kind}s are {}", list(known)),
        };
        let place = match mention.part {
            None => document.value_place(&mention.pointer),
            Some((before, length)) => document.text_place(&mention.pointer, before, length),
        };
        let message = format!("there is no {kind} `{name}`{}", mention.note);
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
    }

    /// A digest stands for one key.
    fn digest(&mut self, document: &Document, name: &'a KeyName, digest: &'a Digest) {
        let first = self.digests.entry(digest.of_key);
        let (other, position) = *first.or_insert((name, &digest.position));
        if std::ptr::eq(position, &raw const digest.position) {
            return;
        }
        let position = display(&self.set.label, position);
        let message = if other == name {
            "this digest is written twice".to_owned()
        } else {
            format!("this digest belongs to the key `{other}` already")
        };
        let help = format!("the other one is at {position}; every key has digests of its own");
        let place = document.value_place(&digest.pointer);
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
    }

    fn finish(mut self, tree: &Tree) -> Result<ManifestSet, Diagnostics> {
        if self.names.0.is_empty() && self.problems.is_empty() {
            let labels: Vec<&str> = tree.layers().iter().map(Layer::label).collect();
            let folder = match labels.join(", ") {
                folder if folder.is_empty() => "the tree".to_owned(),
                folder => folder,
            };
            let (message, help) = if self.set.files == 0 {
                (
                    format!("there are no manifests in {folder}"),
                    "add a file that ends in .toml",
                )
            } else {
                (
                    format!("the manifests in {folder} say nothing"),
                    "add a [service.NAME], or [gateway] with allow_empty = true",
                )
            };
            self.problems
                .push(Diagnostic::error(None, message).with_help(help));
        }
        let is_accepted = self
            .problems
            .iter()
            .all(|problem| problem.severity == super::Severity::Warning);
        let diagnostics = Diagnostics::new(self.set.label.clone(), self.set.files, self.problems);
        if is_accepted {
            self.set.services = self.services.into_iter().collect();
            self.set.contracts = contracts(tree, &self.set.services);
            self.set.warnings = diagnostics;
            Ok(self.set)
        } else {
            Err(diagnostics)
        }
    }
}

/// The contract files of the services that have a contract, each in the layer of its manifest.
fn contracts(
    tree: &Tree,
    services: &BTreeMap<ServiceName, Arc<Located<Service>>>,
) -> BTreeMap<ServiceName, ContractFile> {
    let mut manifests: HashMap<Arc<str>, (usize, &Arc<str>)> = HashMap::new();
    let mut found = BTreeMap::new();
    for (name, service) in services {
        let service = &service.value;
        if service.config.get("contract").is_none() {
            continue;
        }
        if manifests.is_empty() {
            for (index, layer) in tree.layers().iter().enumerate() {
                let names = layer.manifests();
                manifests
                    .extend(names.map(|(name, _)| (tree.file_name(layer, name), (index, name))));
            }
        }
        let Some((index, manifest)) = manifests.get(service.document.file()) else {
            continue;
        };
        let file = service.config.get("contract_file").and_then(Value::as_str);
        let file = sidecar::contract(manifest, name.as_str(), file);
        let bytes = file
            .as_ref()
            .and_then(|file| tree.layers().get(*index)?.file(file));
        let contract = ContractFile {
            layer: *index,
            bytes: bytes.map(Arc::clone),
            name: file,
        };
        found.insert(name.clone(), contract);
    }
    found
}

/// What a table says of replacing one in a layer below; nothing if it does not say `override`, or false.
fn overrides(table: &Value) -> Option<bool> {
    match table.get(OVERRIDE)? {
        Value::Bool(false) => None,
        Value::Bool(true) => Some(true),
        // The schema has refused it; what it was meant to be is plain.
        _ => Some(false),
    }
}

/// A table as its type knows it: `override` is the linker's business alone.
fn without_override(table: &Value) -> Cow<'_, Value> {
    let mut table = Cow::Borrowed(table);
    if table.get(OVERRIDE).is_some()
        && let Value::Object(members) = table.to_mut()
    {
        members.shift_remove(OVERRIDE);
    }
    table
}

/// Whether nothing is wrong with the value at a pointer.
fn is_sound(pointer: &str, findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| {
        finding
            .pointer
            .strip_prefix(pointer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What to say of something that stands where a secret belongs.
fn misplaced_secret(document: &Document, pointer: &str, misplaced: Misplaced) -> Diagnostic {
    let place = document.value_place(pointer);
    let place = if misplaced.hide {
        place.masked()
    } else {
        place
    };
    Diagnostic::error(place, misplaced.message).with_help(misplaced.help)
}

/// The names in braces. The depth is that of the filter, which its parser bounds.
fn lookups<'a>(filter: &'a Filter, names: &mut Vec<&'a str>) {
    let mut operands: Vec<&Operand> = Vec::new();
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            for part in parts {
                lookups(part, names);
            }
        }
        Filter::Not(part) => lookups(part, names),
        Filter::Exists { filter, .. } => {
            if let Some(part) = filter {
                lookups(part, names);
            }
        }
        Filter::Compare { value, .. } | Filter::Match { value, .. } => operands.push(value),
        Filter::In { values, .. } => operands.extend(values),
        Filter::Between { low, high, .. } => operands.extend([low, high]),
        Filter::IsNull { .. } => {}
    }
    for operand in operands {
        if let Operand::Lookup(name) = operand {
            names.push(name);
        }
    }
}
