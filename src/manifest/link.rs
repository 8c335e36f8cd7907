//! From files to one set: names that must be unique, names that must exist, rows that must agree. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cache::Cache;
use super::diagnostic::{Diagnostic, Diagnostics, Position};
use super::document::{Document, join};
use super::gateway::Gateway;
use super::key::KeyTable;
use super::role::RoleTable;
use super::schema::{Finding, NAME_HELP, NAMED_TABLES, Schemas, is_reserved, list};
use super::secrets::{Misplaced, written};
use super::service::{Memo, Service, ServiceTable};
use super::{Located, ManifestSet};
use crate::auth::key::KeyDigest;
use crate::auth::role::{AccessRow, CompiledRow, Role, RowProblem, compile, conflicts};
use crate::connector::filter::{Filter, Operand};
use crate::error::nearest;
use crate::names::{KeyName, RoleName, ServiceName, is_name};
use crate::network::Network;
use crate::tree::Tree;

/// Most names that a load compares for "did you mean": where thousands are missing, a folder is, and not a letter.
const MAX_LIKENESSES: usize = 200_000;

/// A place in one of the documents.
#[derive(Clone, Copy)]
struct Spot<'a> {
    document: &'a Arc<Document>,
    pointer: &'a str,
}

/// A name in the heading of a table.
#[derive(Debug)]
struct Declared {
    table: &'static str,
    name: Box<str>,
    position: Position,
}

/// A name that must be declared somewhere in the tree.
#[derive(Debug)]
struct Mention {
    table: &'static str,
    name: Box<str>,
    /// JSON pointer of the text that has it.
    pointer: String,
    /// Where in that text, and how long, in characters; none for the whole.
    part: Option<(usize, usize)>,
    /// What follows from the absence.
    note: &'static str,
}

/// The digest of a key.
#[derive(Debug)]
struct Digest {
    digest: KeyDigest,
    pointer: String,
    position: Position,
}

/// What one file says by itself: all of it that does not depend on other files.
#[derive(Debug)]
pub(super) struct Part {
    document: Arc<Document>,
    problems: Vec<Diagnostic>,
    names: Vec<Declared>,
    /// The names of lookups that keys have for themselves.
    key_lookups: Vec<Box<str>>,
    mentions: Vec<Mention>,
    services: Vec<(ServiceName, Arc<Located<Service>>)>,
    roles: Vec<(RoleName, Arc<Located<Role>>)>,
    keys: Vec<(KeyName, Arc<Located<KeyTable>>, Vec<Digest>)>,
    lookups: Vec<(String, Located<String>)>,
    gateway: Option<Gateway>,
}

/// Reads one file.
struct Reader<'a> {
    schemas: &'a Schemas,
    /// What stands before file names in messages.
    label: &'a str,
    part: Part,
}

/// Where each name was first written: by table and name.
#[derive(Default)]
struct Names<'a>(HashMap<(&'static str, &'a str), &'a Position>);

impl<'a> Names<'a> {
    fn of(&self, table: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .filter(move |(of, _)| *of == table)
            .map(|(_, name)| *name)
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
    digests: HashMap<KeyDigest, (&'a KeyName, &'a Position)>,
    /// How many likenesses may still be measured.
    likenesses: usize,
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
    let mut linker = Linker {
        problems: Vec::new(),
        names: Names::default(),
        key_lookups: BTreeSet::new(),
        is_whole: parts.iter().all(|part| part.document.is_whole),
        digests: HashMap::new(),
        likenesses: MAX_LIKENESSES,
        set: ManifestSet {
            label: tree.label().to_owned(),
            files: parts.len(),
            ..ManifestSet::default()
        },
    };
    for part in &parts {
        linker.declare(part);
    }
    for part in &parts {
        linker.link(part);
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

impl Part {
    /// Reads a file. `label` stands before file names in messages.
    fn read(file: Arc<str>, bytes: &[u8], label: &str, schemas: &Schemas) -> Self {
        let mut problems = Vec::new();
        let (document, value) = Document::parse(file, bytes, &mut problems);
        let mut reader = Reader {
            schemas,
            label,
            part: Self {
                document: Arc::new(document),
                problems,
                names: Vec::new(),
                key_lookups: Vec::new(),
                mentions: Vec::new(),
                services: Vec::new(),
                roles: Vec::new(),
                keys: Vec::new(),
                lookups: Vec::new(),
                gateway: None,
            },
        };
        let document = Arc::clone(&reader.part.document);
        reader.declare(&document, &value);
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
    fn declare(&mut self, document: &Arc<Document>, value: &Value) {
        for table in NAMED_TABLES.into_iter().chain(["lookup"]) {
            let Some(Value::Object(entries)) = value.get(table) else {
                continue;
            };
            for name in entries.keys() {
                let pointer = join(&format!("/{table}"), name);
                self.declare_name(table, name, document, &pointer);
                if !is_name(name) {
                    self.no_name(document, &pointer, name, table);
                } else if table == "service" && is_reserved(name) {
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
        // A filter may use what only some keys have.
        let keys = value.get("key").and_then(Value::as_object);
        for (key, table) in keys.into_iter().flatten() {
            let lookups = table.get("lookup").and_then(Value::as_object);
            for name in lookups.into_iter().flat_map(serde_json::Map::keys) {
                self.part.key_lookups.push(name.as_str().into());
                if !is_name(name) {
                    let pointer = join(&join(&join("/key", key), "lookup"), name);
                    self.no_name(document, &pointer, name, "lookup");
                }
            }
        }
        if value.get("gateway").is_some() {
            self.declare_name("gateway", "", document, "/gateway");
        }
    }

    fn no_name(&mut self, document: &Document, pointer: &str, name: &str, table: &str) {
        let message = format!("`{name}` is not a name for a {table}");
        let diagnostic = Diagnostic::error(document.key_place(pointer), message);
        self.problem(diagnostic.with_help(NAME_HELP));
    }

    fn declare_name(
        &mut self,
        table: &'static str,
        name: &str,
        document: &Arc<Document>,
        pointer: &str,
    ) {
        let position = match table {
            "lookup" => document.key_position(pointer),
            _ => document.value_position(pointer),
        };
        self.part.names.push(Declared {
            table,
            name: name.into(),
            position,
        });
    }

    fn document(&mut self, document: &Arc<Document>, value: &Value) {
        let mut findings = self.schemas.check_file(document, value);
        let mut services = Vec::new();
        if let Some(Value::Object(entries)) = value.get("service") {
            for (name, table) in entries {
                let pointer = join("/service", name);
                let spot = Spot {
                    document,
                    pointer: &pointer,
                };
                if let Some(service) = self.service_config(spot, table, &mut findings) {
                    services.push((name, pointer, service));
                }
            }
        }
        for (name, pointer, service) in services {
            if is_sound(&pointer, &findings)
                && let Ok(name) = name.parse::<ServiceName>()
            {
                let position = document.value_position(&pointer);
                let value = Located {
                    value: service,
                    position,
                };
                self.part.services.push((name, Arc::new(value)));
            }
        }
        for table in ["role", "key"] {
            let Some(Value::Object(entries)) = value.get(table) else {
                continue;
            };
            for (name, value) in entries {
                let pointer = join(&format!("/{table}"), name);
                let spot = Spot {
                    document,
                    pointer: &pointer,
                };
                if table == "role" {
                    self.role(spot, name, value, &findings);
                } else if is_sound(&pointer, &findings) {
                    self.key(spot, name, value);
                }
            }
        }
        if let Some(Value::Object(entries)) = value.get("lookup")
            && is_sound("/lookup", &findings)
        {
            for (name, value) in entries {
                let position = document.key_position(&join("/lookup", name));
                let value = value.as_str().unwrap_or_default().to_owned();
                let located = Located { value, position };
                self.part.lookups.push((name.clone(), located));
            }
        }
        if let Some(table) = value.get("gateway")
            && is_sound("/gateway", &findings)
        {
            self.gateway(document, table);
        }
        self.part
            .problems
            .extend(findings.into_iter().map(|finding| finding.diagnostic));
    }

    /// Types a table that follows its schema. What the schema could not say is reported at the table.
    fn typed<T: DeserializeOwned>(&mut self, spot: Spot<'_>, value: &Value) -> Option<T> {
        match T::deserialize(value) {
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
        let secrets = self.schemas.secret_places(&service_type, &config);
        for secret in &secrets {
            let Some(value) = config.pointer(secret) else {
                continue;
            };
            let key = super::document::segments(secret)
                .next_back()
                .unwrap_or_default();
            if let Err(misplaced) = written(&key, value) {
                let pointer = format!("{pointer}{secret}");
                let diagnostic = misplaced_secret(document, &pointer, misplaced);
                findings.push(Finding {
                    pointer,
                    diagnostic,
                });
            }
        }
        // The table itself may still be wrong; then `is_sound` drops the service.
        let table = ServiceTable::deserialize(table).ok()?;
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

    fn role(&mut self, spot: Spot<'_>, name: &str, value: &Value, findings: &[Finding]) {
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
                    self.row_names(&pointer, &row, &compiled);
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
            return;
        }
        let Some(table) = self.typed::<RoleTable>(spot, value) else {
            return;
        };
        let Ok(name) = name.parse::<RoleName>() else {
            return;
        };
        let position = spot.document.value_position(spot.pointer);
        let role = Role {
            name: name.clone(),
            description: table.description,
            active: table.active,
            rows,
        };
        let value = Located {
            value: role,
            position,
        };
        self.part.roles.push((name, Arc::new(value)));
    }

    /// The names in a row must exist.
    fn row_names(&mut self, pointer: &str, row: &AccessRow, compiled: &CompiledRow) {
        if let Some(service) = &compiled.service {
            self.part.mentions.push(Mention {
                table: "service",
                name: service.as_str().into(),
                pointer: format!("{pointer}/service"),
                part: None,
                note: "",
            });
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
            self.part.mentions.push(Mention {
                table: "lookup",
                name: lookup.into(),
                pointer: format!("{pointer}/filter"),
                part: Some((
                    before.map_or(0, |before| before.chars().count()),
                    name.chars().count(),
                )),
                note: "; until then the row lets nothing through",
            });
        }
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

    fn key(&mut self, spot: Spot<'_>, name: &str, value: &Value) {
        let Some(table) = self.typed::<KeyTable>(spot, value) else {
            return;
        };
        let Ok(name) = name.parse::<KeyName>() else {
            return;
        };
        let document = spot.document;
        let at = |key: &str| format!("{}/{key}", spot.pointer);
        match &table.role {
            Some(role) => self.part.mentions.push(Mention {
                table: "role",
                name: role.as_str().into(),
                pointer: at("role"),
                part: None,
                note: "",
            }),
            None => self.problem(
                Diagnostic::warning(
                    document.value_place(spot.pointer),
                    format!("the key `{name}` has no role: all its calls will be answered 403"),
                )
                .with_help("add role = \"…\""),
            ),
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
        let digests = digests
            .map(|(index, digest)| {
                let pointer = format!("{}/{index}", at("sha256"));
                Digest {
                    digest: *digest,
                    position: document.value_position(&pointer),
                    pointer,
                }
            })
            .collect();
        let position = document.value_position(spot.pointer);
        let value = Located {
            value: table,
            position,
        };
        self.part.keys.push((name, Arc::new(value), digests));
    }

    fn gateway(&mut self, document: &Arc<Document>, table: &Value) {
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
        let spot = Spot {
            document,
            pointer: "/gateway",
        };
        if self.part.problems.len() == before
            && let Some(gateway) = self.typed::<Gateway>(spot, table)
        {
            self.part.gateway = Some(gateway);
        }
    }
}

impl<'a> Linker<'a> {
    /// Notes every name in a file; a second one of the same table is an error.
    fn declare(&mut self, part: &'a Part) {
        for Declared {
            table,
            name,
            position,
        } in &part.names
        {
            let first = *self.names.0.entry((*table, name)).or_insert(position);
            if std::ptr::eq(first, position) {
                continue;
            }
            let (what, pointer) = match *table {
                "gateway" => ("the table `gateway` is".to_owned(), "/gateway".to_owned()),
                table => (
                    format!("the {table} `{name}` is"),
                    join(&format!("/{table}"), name),
                ),
            };
            let place = part.document.key_place(&pointer);
            let first = display(&self.set.label, first);
            self.problems.push(
                Diagnostic::error(place, format!("{what} written twice")).with_help(format!(
                    "the other one is at {first}; rename or remove one of them"
                )),
            );
        }
        let lookups = part.key_lookups.iter();
        self.key_lookups.extend(lookups.map(|name| &**name));
    }

    /// Takes what a file says, and looks for what it names.
    fn link(&mut self, part: &'a Part) {
        self.problems.extend(part.problems.iter().cloned());
        for mention in &part.mentions {
            self.must_exist(&part.document, mention);
        }
        for (name, service) in &part.services {
            let entry = self.set.services.entry(name.clone());
            entry.or_insert_with(|| Arc::clone(service));
        }
        for (name, role) in &part.roles {
            let entry = self.set.roles.entry(name.clone());
            entry.or_insert_with(|| Arc::clone(role));
        }
        for (name, key, digests) in &part.keys {
            for digest in digests {
                self.digest(&part.document, name, digest);
            }
            let entry = self.set.keys.entry(name.clone());
            entry.or_insert_with(|| Arc::clone(key));
        }
        for (name, value) in &part.lookups {
            let entry = self.set.lookups.entry(name.clone());
            entry.or_insert_with(|| value.clone());
        }
        if let Some(gateway) = &part.gateway {
            self.set.gateway = gateway.clone();
        }
    }

    fn must_exist(&mut self, document: &Document, mention: &Mention) {
        let (table, name) = (mention.table, &*mention.name);
        let is_known = self.names.0.contains_key(&(table, name))
            || (table == "lookup" && self.key_lookups.contains(name));
        if !self.is_whole || is_known {
            return;
        }
        let mut known: BTreeSet<&str> = self.names.of(table).collect();
        if table == "lookup" {
            known.extend(&self.key_lookups);
        }
        let known: Vec<&str> = known.into_iter().collect();
        let near = if known.len() <= self.likenesses {
            self.likenesses -= known.len();
            nearest(name, known.iter().copied())
        } else {
            None
        };
        let help = match (near, known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => match table {
                "lookup" => format!("add it: [lookup] with {name} = \"…\""),
                table => format!("add it: [{table}.{name}]"),
            },
            (None, known) => format!("the {table}s are {}", list(known)),
        };
        let place = match mention.part {
            None => document.value_place(&mention.pointer),
            Some((before, length)) => document.text_place(&mention.pointer, before, length),
        };
        let message = format!("there is no {table} `{name}`{}", mention.note);
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
    }

    /// A digest stands for one key.
    fn digest(&mut self, document: &Document, name: &'a KeyName, digest: &'a Digest) {
        let found = self.digests.entry(digest.digest);
        let (other, position) = *found.or_insert((name, &digest.position));
        if std::ptr::eq(position, &raw const digest.position) {
            return;
        }
        let position = display(&self.set.label, position);
        let message = if other == name {
            "this digest is written twice".to_owned()
        } else {
            format!("this digest belongs to the key `{other}` already")
        };
        let place = document.value_place(&digest.pointer);
        self.problems
            .push(Diagnostic::error(place, message).with_help(format!(
                "the other one is at {position}; every key has digests of its own"
            )));
    }

    fn finish(mut self, tree: &Tree) -> Result<ManifestSet, Diagnostics> {
        if self.names.0.is_empty() && self.problems.is_empty() {
            let folder = match tree.label() {
                "" => "the tree",
                label => label,
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
            self.set.warnings = diagnostics;
            Ok(self.set)
        } else {
            Err(diagnostics)
        }
    }
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
pub(super) fn misplaced_secret(
    document: &Document,
    pointer: &str,
    misplaced: Misplaced,
) -> Diagnostic {
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
