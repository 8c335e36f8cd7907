//! From files to one set: names that must be unique, names that must exist, rows that must agree. Pure.
//!
//! In a tree of layers the table of the highest layer counts. It must say `override = true` where it replaces one, and
//! what it replaces is checked by itself, but not against the others: nothing needs what is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnostic::{Diagnostic, Diagnostics, Place, Position};
use super::document::{Document, join};
use super::expect::{ExpectTable, Expectation, ExpectedRule, RuleTable};
use super::gateway::Gateway;
use super::key::KeyTable;
use super::lookup::LookupEntry;
use super::role::RoleTable;
use super::schema::{Finding, NAME_HELP, NAMED_TABLES, OVERRIDE, Schemas, is_reserved, list};
use super::secrets::{Misplaced, written};
use super::service::{Service, ServiceTable};
use super::{Documents, Located, ManifestSet};
use crate::auth::key::KeyDigest;
use crate::auth::role::{AccessRow, CompiledRow, Role, RowProblem, compile, conflicts};
use crate::auth::route::Question;
use crate::connector::access::Pattern;
use crate::connector::filter::{Filter, Operand};
use crate::error::nearest;
use crate::names::{KeyName, RoleName, ServiceName, is_name};
use crate::network::Network;
use crate::tree::{Layer, Tree};

/// One file, and the layer that it belongs to.
#[derive(Clone, Copy)]
struct File<'a> {
    /// The lowest layer is 0.
    layer: usize,
    document: &'a Arc<Document>,
}

/// A place in one of the documents.
#[derive(Clone, Copy)]
struct Spot<'a> {
    document: &'a Arc<Document>,
    pointer: &'a str,
}

/// Where a name is written in one layer.
struct Declaration {
    layer: usize,
    position: Position,
}

/// Where each name is written, by table and name: the first place in each layer, the lowest layer first.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, String), Vec<Declaration>>);

impl Names {
    fn of(&self, table: &str) -> impl Iterator<Item = &str> {
        self.0
            .keys()
            .filter(move |(of, _)| *of == table)
            .map(|(_, name)| name.as_str())
    }

    /// Whether no higher layer than `layer` writes the name.
    fn counts(&self, table: &'static str, name: &str, layer: usize) -> bool {
        self.0
            .get(&(table, name.to_owned()))
            .and_then(|declarations| declarations.last())
            .is_none_or(|last| last.layer == layer)
    }
}

struct Linker<'a> {
    schemas: &'a Schemas,
    problems: Vec<Diagnostic>,
    names: Names,
    /// The names of lookups that keys have for themselves.
    key_lookups: BTreeSet<String>,
    /// Whether every file could be read: if not, what seems to be missing may stand in the part that could not.
    is_whole: bool,
    /// How many layers the tree has.
    layers: usize,
    digests: BTreeMap<KeyDigest, (KeyName, Position)>,
    set: ManifestSet,
}

pub(super) fn load(tree: &Tree, schemas: &Schemas) -> Result<ManifestSet, Diagnostics> {
    let mut problems = Vec::new();
    let mut documents: Vec<(usize, Arc<Document>)> = Vec::new();
    for (index, layer) in tree.layers().iter().enumerate() {
        for (name, bytes) in layer.files() {
            let document = Document::parse(tree.file_name(layer, name), bytes, &mut problems);
            documents.push((index, Arc::new(document)));
        }
    }
    let files: Vec<File<'_>> = documents
        .iter()
        .map(|(layer, document)| File {
            layer: *layer,
            document,
        })
        .collect();
    let mut linker = Linker {
        schemas,
        problems,
        names: Names::default(),
        key_lookups: BTreeSet::new(),
        is_whole: files.iter().all(|file| file.document.is_whole),
        layers: tree.layers().len(),
        digests: BTreeMap::new(),
        set: ManifestSet {
            label: tree.label().to_owned(),
            files: files.len(),
            documents: Documents(files.iter().map(|file| Arc::clone(file.document)).collect()),
            ..ManifestSet::default()
        },
    };
    for file in &files {
        linker.declare(*file);
    }
    for file in &files {
        linker.declare_key_lookups(*file);
    }
    // What could be read of a broken file is only good for the names in it.
    for file in files.iter().filter(|file| file.document.is_whole) {
        linker.document(*file);
    }
    linker.finish(tree)
}

impl Linker<'_> {
    fn error(&mut self, spot: Spot<'_>, message: impl Into<String>, help: impl Into<String>) {
        let place = spot.document.value_place(spot.pointer);
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
    }

    /// Notes every name in a file. A second one of the same table is an error, in a layer above unless it overrides.
    fn declare(&mut self, file: File<'_>) {
        let document = file.document;
        for table in NAMED_TABLES.into_iter().chain(["lookup"]) {
            let Some(Value::Object(entries)) = document.value.get(table) else {
                continue;
            };
            for name in entries.keys() {
                let pointer = join(&format!("/{table}"), name);
                self.declare_name(table, name, file, &pointer);
                if !is_name(name) {
                    self.no_name(document, &pointer, name, table);
                } else if table == "service" && is_reserved(name) {
                    self.problems.push(
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
        if document.value.get("gateway").is_some() {
            self.declare_name("gateway", "", file, "/gateway");
        }
    }

    /// Notes the lookups that keys have for themselves: a filter may use what only some keys have.
    fn declare_key_lookups(&mut self, file: File<'_>) {
        let keys = file.document.value.get("key").and_then(Value::as_object);
        for (key, table) in keys.into_iter().flatten() {
            let counts = self.names.counts("key", key, file.layer);
            let lookups = table.get("lookup").and_then(Value::as_object);
            for name in lookups.into_iter().flat_map(serde_json::Map::keys) {
                if counts {
                    self.key_lookups.insert(name.clone());
                }
                if !is_name(name) {
                    let pointer = join(&join(&join("/key", key), "lookup"), name);
                    self.no_name(file.document, &pointer, name, "lookup");
                }
            }
        }
    }

    fn no_name(&mut self, document: &Document, pointer: &str, name: &str, table: &str) {
        let message = format!("`{name}` is not a name for a {table}");
        let diagnostic = Diagnostic::error(document.key_place(pointer), message);
        self.problems.push(diagnostic.with_help(NAME_HELP));
    }

    /// Notes one name. Files come by layers, the lowest first, so that all names below are known by now.
    fn declare_name(&mut self, table: &'static str, name: &str, file: File<'_>, pointer: &str) {
        let document = file.document;
        let place = match table {
            "lookup" => document.key_place(pointer),
            _ => document.value_place(pointer),
        };
        let what = match table {
            "gateway" => "the table `gateway`".to_owned(),
            table => format!("the {table} `{name}`"),
        };
        let key = (table, name.to_owned());
        let below = self.names.0.get(&key).and_then(|found| found.last());
        if let Some(first) = below.filter(|below| below.layer == file.layer) {
            let first = self.display(&first.position);
            self.problems.push(
                Diagnostic::error(
                    document.key_place(pointer),
                    format!("{what} is written twice"),
                )
                .with_help(format!(
                    "the other one is at {first}; rename or remove one of them"
                )),
            );
            return;
        }
        let overrides = document.value.pointer(pointer).and_then(overrides);
        match (below, overrides) {
            // What a broken file says may be missing in it.
            (Some(below), None) if document.is_whole => {
                let below = self.display(&below.position);
                let mend = match table {
                    "lookup" => {
                        format!("write {name} = {{ value = \"…\", override = true }} to replace it")
                    }
                    _ => "add `override = true` to replace all of it".to_owned(),
                };
                let or = match table {
                    "gateway" => "",
                    _ => ", or rename this one",
                };
                self.problems.push(
                    Diagnostic::error(
                        document.key_place(pointer),
                        format!("{what} is written in a layer below already"),
                    )
                    .with_help(format!("that one is at {below}; {mend}{or}")),
                );
            }
            (None, Some(true)) => self.nothing_below(table, name, file, pointer),
            _ => {}
        }
        self.names.0.entry(key).or_default().push(Declaration {
            layer: file.layer,
            position: place.position,
        });
    }

    /// Whoever overrides what is not there has misspelt its name.
    fn nothing_below(&mut self, table: &'static str, name: &str, file: File<'_>, pointer: &str) {
        if !self.is_whole {
            return;
        }
        let declared = self.names.0.iter().filter(|((of, _), declarations)| {
            *of == table
                && declarations
                    .first()
                    .is_some_and(|first| first.layer < file.layer)
        });
        let below: Vec<&str> = declared.map(|((_, name), _)| name.as_str()).collect();
        let help = match (nearest(name, below.iter().copied()), below.as_slice()) {
            (Some(near), _) if table != "gateway" => {
                format!("did you mean `{near}`? to add a {table}, remove `override = true`")
            }
            _ if self.layers == 1 => "remove it, or give the layers below as well, the lowest \
                 first: --config LOWER --config THIS"
                .to_owned(),
            _ if file.layer == 0 => "remove it: this is the lowest layer".to_owned(),
            (_, []) => "remove it".to_owned(),
            (_, below) => format!("remove it; the {table}s below are {}", list(below)),
        };
        let what = match table {
            "gateway" => "no table `gateway`".to_owned(),
            table => format!("no {table} `{name}`"),
        };
        let place = file.document.value_place(&format!("{pointer}/override"));
        self.problems.push(
            Diagnostic::error(
                place,
                format!("there is {what} in a layer below that this could replace"),
            )
            .with_help(help),
        );
    }

    /// A position with the label of the tree before it.
    fn display(&self, position: &Position) -> String {
        match self.set.label.trim_end_matches('/') {
            "" => position.to_string(),
            label => format!("{label}/{position}"),
        }
    }

    fn document(&mut self, file: File<'_>) {
        let document = file.document;
        let mut findings = self.schemas.check_file(document);
        let mut services = Vec::new();
        if let Some(Value::Object(entries)) = document.value.get("service") {
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
            if self.names.counts("service", name, file.layer)
                && is_sound(&pointer, &findings)
                && let Ok(name) = name.parse::<ServiceName>()
            {
                let position = document.value_place(&pointer).position;
                let value = Located {
                    value: service,
                    position,
                };
                self.set.services.entry(name).or_insert(value);
            }
        }
        for table in ["role", "key"] {
            let Some(Value::Object(entries)) = document.value.get(table) else {
                continue;
            };
            for (name, value) in entries {
                let pointer = join(&format!("/{table}"), name);
                let spot = Spot {
                    document,
                    pointer: &pointer,
                };
                let counts = self.names.counts(table, name, file.layer);
                if table == "role" {
                    self.role(spot, name, value, &findings, counts);
                } else if is_sound(&pointer, &findings) {
                    self.key(spot, name, value, counts);
                }
            }
        }
        if let Some(Value::Object(entries)) = document.value.get("lookup")
            && is_sound("/lookup", &findings)
        {
            for (name, value) in entries {
                self.lookup(file, name, value);
            }
        }
        let expectations = document.value.get("expect").and_then(Value::as_array);
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
        if let Some(table) = document.value.get("gateway")
            && is_sound("/gateway", &findings)
        {
            let counts = self.names.counts("gateway", "", file.layer);
            self.gateway(document, table, counts);
        }
        self.problems
            .extend(findings.into_iter().map(|finding| finding.diagnostic));
    }

    fn lookup(&mut self, file: File<'_>, name: &str, value: &Value) {
        let pointer = join("/lookup", name);
        let spot = Spot {
            document: file.document,
            pointer: &pointer,
        };
        if self.names.counts("lookup", name, file.layer)
            && let Some(entry) = self.typed::<LookupEntry>(spot, value)
        {
            let position = file.document.key_place(&pointer).position;
            let value = entry.into_value();
            let located = Located { value, position };
            self.set.lookups.entry(name.to_owned()).or_insert(located);
        }
    }

    /// Types a table that follows its schema. What the schema could not say is reported at the table.
    fn typed<T: DeserializeOwned>(&mut self, spot: Spot<'_>, value: &Value) -> Option<T> {
        match serde_json::from_value(without_override(value)) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.problems.push(Diagnostic::error(
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
        for secret in self.schemas.secret_places(&service_type, &config) {
            let Some(value) = config.pointer(&secret) else {
                continue;
            };
            let key = super::document::segments(&secret)
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
        let table: ServiceTable = serde_json::from_value(without_override(table)).ok()?;
        Some(Service {
            service_type,
            label: table.label,
            description: table.description,
            active: table.active,
            config,
            document: Arc::clone(document),
            pointer,
        })
    }

    /// `counts` says whether no layer above replaces it.
    fn role(
        &mut self,
        spot: Spot<'_>,
        name: &str,
        value: &Value,
        findings: &[Finding],
        counts: bool,
    ) {
        let mut rows: Vec<CompiledRow> = Vec::new();
        let mut pointers = Vec::new();
        let written = value.get("access").and_then(Value::as_array);
        for (index, row) in written.into_iter().flatten().enumerate() {
            let pointer = format!("{}/access/{index}", spot.pointer);
            // One wrong row does not hide what is wrong with the others.
            if !is_sound(&pointer, findings) {
                continue;
            }
            let position = spot.document.value_place(&pointer).position;
            let row_spot = Spot {
                document: spot.document,
                pointer: &pointer,
            };
            let Some(row) = self.typed::<AccessRow>(row_spot, row) else {
                continue;
            };
            match compile(&row, Arc::from(position.line())) {
                Ok(compiled) => {
                    if counts {
                        self.row_names(spot.document, &pointer, &row, &compiled);
                    }
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
            let other = self.display(&spot.document.value_place(first).position);
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
        if !counts || !is_sound(spot.pointer, findings) {
            return;
        }
        let Some(table) = self.typed::<RoleTable>(spot, value) else {
            return;
        };
        let Ok(name) = name.parse::<RoleName>() else {
            return;
        };
        let position = spot.document.value_place(spot.pointer).position;
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
        self.set.roles.entry(name).or_insert(value);
    }

    /// The names in a row must exist.
    fn row_names(
        &mut self,
        document: &Arc<Document>,
        pointer: &str,
        row: &AccessRow,
        compiled: &CompiledRow,
    ) {
        if let Some(service) = &compiled.service {
            let place = document.value_place(&format!("{pointer}/service"));
            self.must_exist(place, "service", service.as_str(), "");
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
            let place = document.text_place(
                &format!("{pointer}/filter"),
                before.map_or(0, |before| before.chars().count()),
                name.chars().count(),
            );
            let note = "; until then the row lets nothing through";
            self.must_exist(place, "lookup", lookup, note);
        }
    }

    fn must_exist(&mut self, place: Place, table: &'static str, name: &str, note: &str) {
        let is_known = self.names.0.contains_key(&(table, name.to_owned()))
            || (table == "lookup" && self.key_lookups.contains(name));
        if !self.is_whole || is_known {
            return;
        }
        let mut known: BTreeSet<&str> = self.names.of(table).collect();
        if table == "lookup" {
            known.extend(self.key_lookups.iter().map(String::as_str));
        }
        let known: Vec<&str> = known.into_iter().collect();
        let help = match (nearest(name, known.iter().copied()), known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => match table {
                "lookup" => format!("add it: [lookup] with {name} = \"…\""),
                table => format!("add it: [{table}.{name}]"),
            },
            (None, known) => format!("the {table}s are {}", list(known)),
        };
        let message = format!("there is no {table} `{name}`{note}");
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
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
        self.problems.push(Diagnostic {
            help: problem.help,
            ..Diagnostic::error(place, message)
        });
    }

    /// `counts` says whether no layer above replaces it.
    fn key(&mut self, spot: Spot<'_>, name: &str, value: &Value, counts: bool) {
        let Some(table) = self.typed::<KeyTable>(spot, value) else {
            return;
        };
        let Ok(name) = name.parse::<KeyName>() else {
            return;
        };
        let document = spot.document;
        let at = |key: &str| format!("{}/{key}", spot.pointer);
        match &table.role {
            _ if !counts => {}
            Some(role) => {
                let place = document.value_place(&at("role"));
                let position = place.position.clone();
                self.set.key_roles.entry(name.clone()).or_insert(position);
                self.must_exist(place, "role", role.as_str(), "");
            }
            None => self.problems.push(
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
        if !counts {
            return;
        }
        for (index, digest) in table.sha256.iter().enumerate() {
            let pointer = format!("{}/{index}", at("sha256"));
            let spot = Spot {
                document,
                pointer: &pointer,
            };
            if let Some((other, position)) = self.digests.get(digest) {
                let position = self.display(position);
                let message = if *other == name {
                    "this digest is written twice".to_owned()
                } else {
                    format!("this digest belongs to the key `{other}` already")
                };
                let help =
                    format!("the other one is at {position}; every key has digests of its own");
                self.error(spot, message, help);
            } else {
                let position = document.value_place(&pointer).position;
                self.digests.insert(*digest, (name.clone(), position));
            }
        }
        let position = document.value_place(spot.pointer).position;
        let value = Located {
            value: table,
            position,
        };
        self.set.keys.entry(name).or_insert(value);
    }

    /// An access test. The names in it must exist; whether it holds is asked once the whole tree is good.
    fn expect(&mut self, spot: Spot<'_>, value: &Value) {
        let Some(table) = self.typed::<ExpectTable>(spot, value) else {
            return;
        };
        let document = spot.document;
        let at = |key: &str| format!("{}/{key}", spot.pointer);
        let place = document.value_place(&at("key"));
        self.must_exist(place, "key", table.key.as_str(), "");
        let question = self.question(spot, &table.request);
        let rule = match table.rule {
            Some(rule) => self.expected_rule(spot, rule).map(Some),
            None => Some(None),
        };
        if let (Some(question), Some(rule)) = (question, rule) {
            self.set.expectations.push(Expectation {
                key: table.key,
                question,
                answer: table.answer,
                rule,
                at: table.at,
                description: table.description,
                position: document.value_place(spot.pointer).position,
                document: Arc::clone(document),
                pointer: spot.pointer.to_owned(),
            });
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
                    let place = match lowered.find(&format!("/{service}")) {
                        Some(offset) => {
                            let before = length(lowered.get(..=offset).unwrap_or_default());
                            place(before_path + before, length(service))
                        }
                        None => place(before_path, length(path)),
                    };
                    self.must_exist(place, "service", service, "");
                }
                Some(question)
            }
            Err(invalid) => {
                let place = if invalid.is_method {
                    place(0, length(method))
                } else {
                    place(before_path, length(path))
                };
                self.problems.push(Diagnostic {
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
            self.problems.push(diagnostic.with_help(help));
            return None;
        }
        if let Some(role) = &table.role {
            self.must_exist(at("/role"), "role", role.as_str(), "");
        }
        if let Some(service) = table.service.as_deref().filter(|service| *service != "*") {
            self.must_exist(at("/service"), "service", service, "");
        }
        let component = match table.component.as_deref().map(Pattern::parse) {
            None => None,
            Some(Ok(component)) => Some(component),
            Some(Err(message)) => {
                let help = "write the component as the row has it";
                self.problems
                    .push(Diagnostic::error(at("/component"), message).with_help(help));
                return None;
            }
        };
        Some(ExpectedRule {
            role: table.role,
            service: table.service,
            component,
        })
    }

    /// `counts` says whether no layer above replaces it.
    fn gateway(&mut self, document: &Arc<Document>, table: &Value, counts: bool) {
        let before = self.problems.len();
        let proxies = table.get("trusted_proxies").and_then(Value::as_array);
        for (index, proxy) in proxies.into_iter().flatten().enumerate() {
            if let Err(error) = proxy.as_str().unwrap_or_default().parse::<Network>() {
                self.problems.push(Diagnostic::error(
                    document.value_place(&format!("/gateway/trusted_proxies/{index}")),
                    error.to_string(),
                ));
            }
        }
        let spot = Spot {
            document,
            pointer: "/gateway",
        };
        if counts
            && self.problems.len() == before
            && let Some(gateway) = self.typed::<Gateway>(spot, table)
        {
            self.set.gateway = gateway;
        }
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
            self.set.warnings = diagnostics;
            Ok(self.set)
        } else {
            Err(diagnostics)
        }
    }
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
fn without_override(table: &Value) -> Value {
    let mut table = table.clone();
    if let Value::Object(members) = &mut table {
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
