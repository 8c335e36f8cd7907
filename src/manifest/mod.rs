//! What the files say: text → JSON → validated → linked and typed. Pure but for [`secrets`] and [`encryption`].
//!
//! [`load`] reports every problem in the tree at once. Secrets stay references until [`ManifestSet::configs`].

mod cache;
pub mod diagnostic;
pub mod difference;
mod document;
pub mod encryption;
pub mod expect;
pub mod gateway;
pub mod key;
mod link;
pub mod lookup;
pub mod role;
pub mod schema;
pub mod secrets;
pub mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::auth::role::Role;
use crate::connector::AnyConfig;
use crate::names::{KeyName, RoleName, ServiceName};
use crate::tree::Tree;
pub use cache::Cache;
pub use diagnostic::{Diagnostic, Diagnostics, Place, Position, Severity};
use document::Document;
pub use expect::Expectation;
pub use gateway::Gateway;
pub use key::KeyTable;
pub use schema::Schemas;
pub use secrets::{Recorder, SecretSource, SecretsRead};
use secrets::{Reference, Unreadable, Written};
pub use service::Service;

/// The key of a config that holds what the contract file says. Nobody writes it in a manifest: it is in no schema.
const CONTRACT_SHAPE: &str = "contract_shape";

/// Something, and where its table stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// What it says.
    pub value: T,
    /// Where the table stands.
    pub position: Position,
}

/// What a whole tree says: validated, linked, typed. Secrets are references still.
#[derive(Clone, Debug, Default)]
pub struct ManifestSet {
    /// Services.
    pub services: BTreeMap<ServiceName, Arc<Located<Service>>>,
    /// Roles; the position of each row is in its rule.
    pub roles: BTreeMap<RoleName, Arc<Located<Role>>>,
    /// Keys.
    pub keys: BTreeMap<KeyName, Arc<Located<KeyTable>>>,
    /// Values for `{lookup.NAME}`.
    pub lookups: BTreeMap<String, Located<String>>,
    /// Access tests, in the order of files and lines.
    pub expectations: Vec<Arc<Expectation>>,
    /// Settings of the gateway; the defaults where no file has the table.
    pub gateway: Gateway,
    /// What somebody should look at, although the tree is accepted.
    pub warnings: Diagnostics,
    /// The contract files of the services that have one.
    contracts: BTreeMap<ServiceName, ContractFile>,
    /// Where each key says which role it has.
    key_roles: BTreeMap<KeyName, Position>,
    label: String,
    files: usize,
    documents: Documents,
}

/// The files of a set, to say where in them something is written. They are not printed: secrets may be in them.
#[derive(Clone, Default)]
struct Documents(Vec<Arc<Document>>);

impl std::fmt::Debug for Documents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} files", self.0.len())
    }
}

/// The contract file of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractFile {
    /// The number of its layer, the lowest first.
    pub layer: usize,
    /// Its name within the layer; none where what the manifest writes is no name of a file in the tree.
    pub name: Option<String>,
    /// What is in it; none if it is not there.
    pub bytes: Option<Arc<[u8]>>,
}

/// The configs of all services, typed, with the values of their secrets.
pub struct Configs {
    /// One for each service, active or not.
    pub services: BTreeMap<ServiceName, Arc<dyn AnyConfig>>,
}

/// Reads a tree: everything it says, or everything that is wrong with it.
///
/// Files are independent of each other and of their names: the same tables in other files mean the same.
pub fn load(tree: &Tree, schemas: &Schemas) -> Result<ManifestSet, Diagnostics> {
    load_again(tree, schemas, &mut Cache::default())
}

/// The same, faster where a tree is much like the last one that was loaded with `cache`: of files that did not change
/// the cache knows what they say. The result is that of [`load`] whatever is in it, as long as the schemas are the same.
pub fn load_again(
    tree: &Tree,
    schemas: &Schemas,
    cache: &mut Cache,
) -> Result<ManifestSet, Diagnostics> {
    link::load(tree, schemas, cache)
}

impl ManifestSet {
    /// Whether nothing can be served: no service, no role, no key. Such a tree replaces a full one only with
    /// `[gateway] allow_empty = true`.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.roles.is_empty() && self.keys.is_empty()
    }

    /// Where a key says which role it has; none for a key without one.
    pub fn role_position(&self, key: &str) -> Option<&Position> {
        self.key_roles.get(key)
    }

    /// What is wrong with this tree, with the label and the count of its files.
    pub fn problems(&self, list: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::new(self.label.clone(), self.files, list)
    }

    /// What is wrong with the config of a service, where it stands.
    pub fn service_problem(&self, name: &str, message: String) -> Diagnostic {
        let service = self.services.get(name).map(|service| &service.value);
        let place = service.map(|service| service.document.key_place(&service.pointer));
        Diagnostic::error(place, message)
    }

    /// How many files the tree has.
    pub fn files(&self) -> usize {
        self.files
    }

    /// Where the key at a JSON pointer (RFC 6901) of a file stands, or the member of a list; none if it is not written.
    pub fn written_at(&self, file: &str, pointer: &str) -> Option<Position> {
        let mut documents = self.documents.0.iter();
        documents
            .find(|document| document.file().as_ref() == file)?
            .written_at(pointer)
    }

    /// Where a key of `[gateway]` stands, in whatever file has that table; none if it is not written.
    pub fn gateway_at(&self, key: &str) -> Option<Position> {
        // The table of the highest layer replaces those below, and the files of the highest layer come last.
        let mut documents = self.documents.0.iter().rev();
        documents
            .find(|document| document.written_at("/gateway").is_some())?
            .written_at(&document::join("/gateway", key))
    }

    /// Resolves the secrets of every service with `source` and types its config.
    ///
    /// Fails with everything that is wrong: secrets without a value, and what the service types themselves find
    /// wrong with their configs.
    pub fn configs(&self, source: &dyn SecretSource) -> Result<Configs, Diagnostics> {
        let mut services = Vec::with_capacity(self.services.len());
        let mut problems = Vec::new();
        for (name, service) in &self.services {
            match typed(name, &service.value, self.contracts.get(name), source) {
                Ok(config) => services.push((name.clone(), config)),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Configs {
                services: services.into_iter().collect(),
            })
        } else {
            Err(self.problems(problems))
        }
    }
}

impl ManifestSet {
    /// The contract file of a service; none of one without a contract.
    pub fn contract(&self, service: &str) -> Option<&ContractFile> {
        self.contracts.get(service)
    }

    /// The config of one service as if it had no contract: to lock one, or to hold it against the live database.
    pub fn config_without_contract(
        &self,
        name: &ServiceName,
        source: &dyn SecretSource,
    ) -> Result<Arc<dyn AnyConfig>, Diagnostics> {
        let Some(service) = self.services.get(name) else {
            return Err(self.problems(Vec::new()));
        };
        typed(name, &service.value, None, source).map_err(|problems| self.problems(problems))
    }
}

/// What a contract file says, as JSON.
fn contract_shape(
    name: &ServiceName,
    service: &Service,
    file: &ContractFile,
) -> Result<Value, Box<Diagnostic>> {
    let document = &service.document;
    let written = format!("{}/contract_file", service.pointer);
    let place = match document.written_at(&written) {
        Some(_) => document.value_place(&written),
        None => document.value_place(&format!("{}/contract", service.pointer)),
    };
    let Some(path) = &file.name else {
        return Err(Box::new(
            Diagnostic::error(place, "this is no name of a contract file in the tree").with_help(
                "write a path from this manifest that stays in the tree, such as contracts/SERVICE.json",
            ),
        ));
    };
    let Some(bytes) = &file.bytes else {
        return Err(Box::new(
            Diagnostic::error(place, format!("there is no contract file `{path}`"))
                .with_help(format!("write it with `tidegate contract lock {name}`")),
        ));
    };
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the contract file `{path}` is not valid JSON: {error}");
        let help = format!("write it anew with `tidegate contract lock {name}`");
        Box::new(Diagnostic::error(place, message).with_help(help))
    })
}

fn typed(
    name: &ServiceName,
    service: &Service,
    contract: Option<&ContractFile>,
    source: &dyn SecretSource,
) -> Result<Arc<dyn AnyConfig>, Vec<Diagnostic>> {
    let document = &service.document;
    let at = |pointer: &str| format!("{}{pointer}", service.pointer);
    let mut problems = Vec::new();
    let mut digests = Vec::new();
    for (pointer, reference) in service.references() {
        match source.digest(reference) {
            Ok(digest) => digests.push(digest),
            Err(why) => problems.push(no_value(service, pointer, reference, why)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let print = contract.map(|contract| {
        let bytes = contract.bytes.as_deref().unwrap_or_default();
        <[u8; 32]>::from(Sha256::digest(bytes))
    });
    digests.extend(print);
    if let Some(config) = service.typed.get(&digests) {
        return Ok(config);
    }
    let mut config = service.config.clone();
    match (contract, config.as_object_mut()) {
        (Some(contract), Some(config)) => {
            let shape =
                contract_shape(name, service, contract).map_err(|problem| vec![*problem])?;
            config.insert(CONTRACT_SHAPE.to_owned(), shape);
        }
        (None, Some(config)) => {
            // A contract is about what the database has, and `table` about what callers see of it.
            if config.remove("contract").is_some() {
                config.remove("table");
            }
        }
        (_, None) => {}
    }
    digests.clear();
    for (pointer, written) in &service.secrets {
        let text = match written {
            Written::Plain(text) => text.clone(),
            Written::Reference(reference) => match source.read(reference) {
                Ok(text) => {
                    digests.push(secrets::digest(&text));
                    text
                }
                Err(why) => {
                    problems.push(no_value(service, pointer, reference, why));
                    continue;
                }
            },
        };
        if let Some(value) = config.pointer_mut(pointer) {
            *value = Value::String(text);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    digests.extend(print);
    let config = (service.service_type.parse)(config).map_err(|error| {
        let file = contract.and_then(|contract| contract.name.as_deref());
        let (pointer, message) = match file {
            Some(file) => (
                at("/contract"),
                format!("the contract file `{file}` is not accepted: {error}"),
            ),
            None => (
                service.pointer.clone(),
                format!("this config is not accepted: {error}"),
            ),
        };
        vec![Diagnostic::error(document.key_place(&pointer), message)]
    })?;
    let problems: Vec<Diagnostic> = config
        .check()
        .into_iter()
        .map(|problem| Diagnostic {
            help: problem.help,
            ..Diagnostic::error(document.value_place(&at(&problem.pointer)), problem.message)
        })
        .collect();
    if problems.is_empty() {
        service.typed.keep(digests, &config);
        Ok(config)
    } else {
        Err(problems)
    }
}

/// What to say of a reference to a secret that has no value.
fn no_value(
    service: &Service,
    pointer: &str,
    reference: &Reference,
    why: Unreadable,
) -> Diagnostic {
    let name = document::segments(pointer).next_back().unwrap_or_default();
    let at = format!("{}{pointer}", service.pointer);
    // Encrypted values are long, and nobody can read them.
    let place = match reference {
        Reference::Age(_) => service.document.key_place(&at),
        _ => service.document.value_place(&at),
    };
    Diagnostic::error(
        place,
        format!("`{name}` has no value: {reference} {}", why.message),
    )
    .with_help(why.help)
}
