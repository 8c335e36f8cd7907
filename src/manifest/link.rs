//! From files to one set: names that must be unique, names that must exist, rows that must agree. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnostic::{Diagnostic, Diagnostics, Place, Position};
use super::document::{Document, join};
use super::gateway::Gateway;
use super::key::KeyTable;
use super::role::RoleTable;
use super::schema::{Finding, NAME_HELP, NAMED_TABLES, Schemas, is_reserved, list};
use super::secrets::{Misplaced, written};
use super::service::{Service, ServiceTable};
use super::{Documents, Located, ManifestSet};
use crate::auth::key::KeyDigest;
use crate::auth::role::{AccessRow, CompiledRow, Role, RowProblem, compile, conflicts};
use crate::connector::filter::{Filter, Operand};
use crate::error::nearest;
use crate::names::{KeyName, RoleName, ServiceName, is_name};
use crate::network::Network;
use crate::tree::Tree;

/// A place in one of the documents.
#[derive(Clone, Copy)]
struct Spot<'a> {
    document: &'a Arc<Document>,
    pointer: &'a str,
}

/// Where each name was first written: by table and name.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, String), Position>);

impl Names {
    fn of(&self, table: &str) -> impl Iterator<Item = &str> {
        self.0
            .keys()
            .filter(move |(of, _)| *of == table)
            .map(|(_, name)| name.as_str())
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
    digests: BTreeMap<KeyDigest, (KeyName, Position)>,
    set: ManifestSet,
}

pub(super) fn load(tree: &Tree, schemas: &Schemas) -> Result<ManifestSet, Diagnostics> {
    let mut problems = Vec::new();
    let files = tree.layers().iter().flat_map(|layer| {
        layer
            .files()
            .map(|(name, bytes)| (tree.file_name(layer, name), bytes))
    });
    let documents: Vec<Arc<Document>> = files
        .map(|(name, bytes)| Arc::new(Document::parse(name, bytes, &mut problems)))
        .collect();
    let mut linker = Linker {
        schemas,
        problems,
        names: Names::default(),
        key_lookups: BTreeSet::new(),
        is_whole: documents.iter().all(|document| document.is_whole),
        digests: BTreeMap::new(),
        set: ManifestSet {
            label: tree.label().to_owned(),
            files: documents.len(),
            documents: Documents(documents.clone()),
            ..ManifestSet::default()
        },
    };
    for document in &documents {
        linker.declare(document);
    }
    // What could be read of a broken file is only good for the names in it.
    for document in documents.iter().filter(|document| document.is_whole) {
        linker.document(document);
    }
    linker.finish(tree)
}

impl Linker<'_> {
    fn error(&mut self, spot: Spot<'_>, message: impl Into<String>, help: impl Into<String>) {
        let place = spot.document.value_place(spot.pointer);
        self.problems
            .push(Diagnostic::error(place, message).with_help(help));
    }

    /// Notes every name in a file; a second one of the same table is an error.
    fn declare(&mut self, document: &Arc<Document>) {
        for table in NAMED_TABLES.into_iter().chain(["lookup"]) {
            let Some(Value::Object(entries)) = document.value.get(table) else {
                continue;
            };
            for name in entries.keys() {
                let pointer = join(&format!("/{table}"), name);
                self.declare_name(table, name, document, &pointer);
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
        // A filter may use what only some keys have.
        let keys = document.value.get("key").and_then(Value::as_object);
        for (key, table) in keys.into_iter().flatten() {
            let lookups = table.get("lookup").and_then(Value::as_object);
            for name in lookups.into_iter().flat_map(serde_json::Map::keys) {
                self.key_lookups.insert(name.clone());
                if !is_name(name) {
                    let pointer = join(&join(&join("/key", key), "lookup"), name);
                    self.no_name(document, &pointer, name, "lookup");
                }
            }
        }
        if document.value.get("gateway").is_some() {
            self.declare_name("gateway", "", document, "/gateway");
        }
    }

    fn no_name(&mut self, document: &Document, pointer: &str, name: &str, table: &str) {
        let message = format!("`{name}` is not a name for a {table}");
        let diagnostic = Diagnostic::error(document.key_place(pointer), message);
        self.problems.push(diagnostic.with_help(NAME_HELP));
    }

    fn declare_name(
        &mut self,
        table: &'static str,
        name: &str,
        document: &Arc<Document>,
        pointer: &str,
    ) {
        let place = match table {
            "lookup" => document.key_place(pointer),
            _ => document.value_place(pointer),
        };
        let key = (table, name.to_owned());
        if let Some(first) = self.names.0.get(&key) {
            let what = match table {
                "gateway" => "the table `gateway` is".to_owned(),
                table => format!("the {table} `{name}` is"),
            };
            let first = self.display(first);
            self.problems.push(
                Diagnostic::error(document.key_place(pointer), format!("{what} written twice"))
                    .with_help(format!(
                        "the other one is at {first}; rename or remove one of them"
                    )),
            );
        } else {
            self.names.0.insert(key, place.position);
        }
    }

    /// A position with the label of the tree before it.
    fn display(&self, position: &Position) -> String {
        match self.set.label.trim_end_matches('/') {
            "" => position.to_string(),
            label => format!("{label}/{position}"),
        }
    }

    fn document(&mut self, document: &Arc<Document>) {
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
            if is_sound(&pointer, &findings)
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
                if table == "role" {
                    self.role(spot, name, value, &findings);
                } else if is_sound(&pointer, &findings) {
                    self.key(spot, name, value);
                }
            }
        }
        if let Some(Value::Object(entries)) = document.value.get("lookup")
            && is_sound("/lookup", &findings)
        {
            for (name, value) in entries {
                let position = document.key_place(&join("/lookup", name)).position;
                let value = value.as_str().unwrap_or_default().to_owned();
                let located = Located { value, position };
                self.set.lookups.entry(name.clone()).or_insert(located);
            }
        }
        if let Some(table) = document.value.get("gateway")
            && is_sound("/gateway", &findings)
        {
            self.gateway(document, table);
        }
        self.problems
            .extend(findings.into_iter().map(|finding| finding.diagnostic));
    }

    /// Types a table that follows its schema. What the schema could not say is reported at the table.
    fn typed<T: DeserializeOwned>(&mut self, spot: Spot<'_>, value: &Value) -> Option<T> {
        match serde_json::from_value(value.clone()) {
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
        let table: ServiceTable = serde_json::from_value(table.clone()).ok()?;
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
                    self.row_names(spot.document, &pointer, &row, &compiled);
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
        if !is_sound(spot.pointer, findings) {
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
            Some(role) => {
                let place = document.value_place(&at("role"));
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

    fn gateway(&mut self, document: &Arc<Document>, table: &Value) {
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
        if self.problems.len() == before
            && let Some(gateway) = self.typed::<Gateway>(spot, table)
        {
            self.set.gateway = gateway;
        }
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
