//! Two trees → what the second one would change for those who use the first: services, who may do what, keys, roles,
//! settings and the described interface. Pure.
//!
//! What means the same is no change, however it is written: comments, order, files, defaults that are spelled out. Every
//! change has its classes, by which continuous integration can refuse it, and the places in the manifests that cause it.

mod access;
mod api;
mod comparison;
mod condition;
mod expectations;
mod json;
mod keys;
mod markdown;
mod roles;
mod sentence;
mod services;
mod settings;
mod space;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use access::{AccessChange, Cause, Components, Effect, LetterCase, Principal};
pub use api::{ApiChange, Rule};
pub use condition::{Condition, Direction, FieldsChange, FilterChange};
pub use expectations::ExpectationChange;
pub use json::json;
pub use keys::KeyChange;
pub use markdown::{markdown, markdown_refusal};
pub use roles::RoleChange;
pub use services::ServiceChange;
pub use text::text;

use crate::connector::Description;
use crate::manifest::{ManifestSet, Position};
use crate::names::{KeyName, RoleName, ServiceName};
use crate::snapshot::candidate::Candidate;

/// What kind of change it is, for `--fail-on`. A change may be of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody may do, see or reach more than before, or perhaps so.
    AccessWidened,
    /// Somebody may do, see or reach less than before, or perhaps so.
    AccessNarrowed,
    /// A call that was good before may be refused, or its answer lack something.
    Breaking,
    /// The described interface differs without breaking.
    ApiChanged,
    /// A service is new.
    ServiceAdded,
    /// A service is gone.
    ServiceRemoved,
    /// The connections of a service are closed and opened anew.
    ServiceReopened,
    /// A service has another label or description, or was switched on or off.
    ServiceChanged,
    /// A key is new.
    KeyAdded,
    /// A key is gone.
    KeyRemoved,
    /// A key says something else.
    KeyChanged,
    /// Other credentials are accepted, or in other places.
    CredentialsChanged,
    /// A role is new.
    RoleAdded,
    /// A role is gone.
    RoleRemoved,
    /// A role says something else, whether or not a key has it.
    RoleChanged,
    /// A lookup has another value.
    LookupChanged,
    /// A setting of the gateway is another.
    GatewayChanged,
    /// An access test is new.
    ExpectationAdded,
    /// An access test is gone.
    ExpectationRemoved,
}

impl Class {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 19] = [
        Self::AccessWidened,
        Self::AccessNarrowed,
        Self::Breaking,
        Self::ApiChanged,
        Self::ServiceAdded,
        Self::ServiceRemoved,
        Self::ServiceReopened,
        Self::ServiceChanged,
        Self::KeyAdded,
        Self::KeyRemoved,
        Self::KeyChanged,
        Self::CredentialsChanged,
        Self::RoleAdded,
        Self::RoleRemoved,
        Self::RoleChanged,
        Self::LookupChanged,
        Self::GatewayChanged,
        Self::ExpectationAdded,
        Self::ExpectationRemoved,
    ];

    /// As `--fail-on` and all output write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessWidened => "access-widened",
            Self::AccessNarrowed => "access-narrowed",
            Self::Breaking => "breaking",
            Self::ApiChanged => "api-changed",
            Self::ServiceAdded => "service-added",
            Self::ServiceRemoved => "service-removed",
            Self::ServiceReopened => "service-reopened",
            Self::ServiceChanged => "service-changed",
            Self::KeyAdded => "key-added",
            Self::KeyRemoved => "key-removed",
            Self::KeyChanged => "key-changed",
            Self::CredentialsChanged => "credentials-changed",
            Self::RoleAdded => "role-added",
            Self::RoleRemoved => "role-removed",
            Self::RoleChanged => "role-changed",
            Self::LookupChanged => "lookup-changed",
            Self::GatewayChanged => "gateway-changed",
            Self::ExpectationAdded => "expectation-added",
            Self::ExpectationRemoved => "expectation-removed",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that names no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownClass(String);

impl fmt::Display for UnknownClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        write!(
            formatter,
            "there is no class of changes `{}`; the classes are {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownClass {}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// Which of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The first one, as it is now.
    From,
    /// The second one, as it would be.
    To,
}

/// A place in one of the trees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Which tree.
    pub side: Side,
    /// Where in it.
    pub position: Position,
}

/// Whether something comes, goes, or becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// `+`
    Added,
    /// `-`
    Removed,
    /// `~`
    Changed,
}

impl Mark {
    /// `+`, `-` or `~`.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        }
    }
}

/// Under which heading a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Who may do what.
    Access,
    /// What is served.
    Services,
    /// Applications.
    Keys,
    /// What roles say.
    Roles,
    /// Names for filters.
    Lookups,
    /// Settings of the gateway.
    Gateway,
    /// Access tests.
    Expectations,
    /// The described interface.
    Api,
}

impl Section {
    /// Every section, in the order of all output.
    pub const ALL: [Self; 8] = [
        Self::Access,
        Self::Services,
        Self::Keys,
        Self::Roles,
        Self::Lookups,
        Self::Gateway,
        Self::Expectations,
        Self::Api,
    ];

    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Services => "services",
            Self::Keys => "keys",
            Self::Roles => "roles",
            Self::Lookups => "lookups",
            Self::Gateway => "gateway",
            Self::Expectations => "expectations",
            Self::Api => "api",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Access => "Access",
            Self::Services => "Services",
            Self::Keys => "Keys",
            Self::Roles => "Roles",
            Self::Lookups => "Lookups",
            Self::Gateway => "Gateway",
            Self::Expectations => "Expectations",
            Self::Api => "API",
        }
    }
}

/// What changes.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Something about a service.
    Service {
        /// Its name.
        name: ServiceName,
        /// What.
        change: ServiceChange,
    },
    /// Something about a key.
    Key {
        /// Its name, in the second tree if it is in both.
        name: KeyName,
        /// What.
        change: KeyChange,
    },
    /// Something about a role.
    Role {
        /// Its name.
        name: RoleName,
        /// What.
        change: RoleChange,
    },
    /// A name for filters.
    Lookup {
        /// The name.
        name: String,
        /// Whether it comes, goes or has another value.
        mark: Mark,
    },
    /// A setting of the gateway.
    Setting {
        /// The key of `[gateway]`.
        name: &'static str,
        /// Its value before.
        before: String,
        /// Its value now.
        after: String,
    },
    /// What is held to be so.
    Expectation(ExpectationChange),
    /// Who may do what.
    Access(AccessChange),
    /// What an application finds described.
    Api(ApiChange),
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is.
    pub what: What,
    /// Its classes.
    pub classes: BTreeSet<Class>,
    /// What causes it; the first place is the nearest cause.
    pub sites: Vec<Site>,
}

impl Change {
    /// Under which heading it stands.
    pub fn section(&self) -> Section {
        match &self.what {
            What::Service { .. } => Section::Services,
            What::Key { .. } => Section::Keys,
            What::Role { .. } => Section::Roles,
            What::Lookup { .. } => Section::Lookups,
            What::Setting { .. } => Section::Gateway,
            What::Expectation(_) => Section::Expectations,
            What::Access(_) => Section::Access,
            What::Api(_) => Section::Api,
        }
    }

    /// Whether something comes, goes, or becomes another.
    pub fn mark(&self) -> Mark {
        match &self.what {
            What::Service { change, .. } => change.mark(),
            What::Key { change, .. } => change.mark(),
            What::Role { change, .. } => change.mark(),
            What::Lookup { mark, .. } => *mark,
            What::Setting { .. } => Mark::Changed,
            What::Expectation(change) => change.mark,
            What::Access(change) => change.effect.mark(),
            What::Api(change) => change.rule.mark(),
        }
    }
}

/// One of the two trees, for headings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeName {
    /// As the command line names it.
    pub source: String,
    /// What stands before the names of its files.
    pub label: String,
    /// Its digest.
    pub digest: String,
    /// Its commit, if it was taken from one.
    pub commit: Option<String>,
}

impl TreeName {
    /// The name of a tree that the command line calls `source`.
    pub fn of(source: impl Into<String>, candidate: &Candidate) -> Self {
        Self {
            source: source.into(),
            label: candidate.tree.label().to_owned(),
            digest: candidate.tree.digest().to_string(),
            commit: candidate.tree.commit().map(str::to_owned),
        }
    }

    /// The name of a file as people find it.
    fn file(&self, position: &Position) -> String {
        match self.label.trim_end_matches('/') {
            "" => position.file.to_string(),
            label => format!("{label}/{}", position.file),
        }
    }
}

/// Everything that a tree changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// One by one, in the order of [`Section::ALL`].
    pub list: Vec<Change>,
    /// Services that keep their connections.
    pub kept: Vec<ServiceName>,
    /// What a reader should know of the comparison itself.
    pub notes: Vec<String>,
}

impl Changes {
    /// How many changes there are of each class that occurs.
    pub fn counts(&self) -> BTreeMap<Class, usize> {
        let mut counts = BTreeMap::new();
        for class in self.list.iter().flat_map(|change| &change.classes) {
            *counts.entry(*class).or_insert(0) += 1;
        }
        counts
    }

    /// The classes among `classes` of which there is a change.
    pub fn found(&self, classes: &[Class]) -> Vec<Class> {
        let counts = self.counts();
        Class::ALL
            .into_iter()
            .filter(|class| classes.contains(class) && counts.contains_key(class))
            .collect()
    }
}

/// What the backends of both trees told of themselves: for every service that is in a map, its tables are compared.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Of the first tree.
    pub from: BTreeMap<ServiceName, Description>,
    /// Of the second one.
    pub to: BTreeMap<ServiceName, Description>,
}

/// Compares two trees. No backend is asked: without `tables`, what is described of tables is left out.
pub fn compare(from: &Candidate, to: &Candidate, tables: &Tables) -> Changes {
    let mut changes = Changes::default();
    services::compare(from, to, &mut changes);
    let keys = keys::Pairs::of(&from.set, &to.set);
    keys::compare(&keys, &from.set, &to.set, &mut changes.list);
    let roles = roles::Differences::of(&from.set, &to.set);
    roles::compare(&roles, &from.set, &to.set, &mut changes.list);
    settings::compare(&from.set, &to.set, &mut changes.list);
    expectations::compare(&from.set, &to.set, &mut changes.list);
    comparison::compare(from, to, &keys, &roles, tables, &mut changes.list);
    if to.set.is_empty() && !from.set.is_empty() && !to.set.gateway.allow_empty {
        changes.notes.push(
            "the second tree is empty: a running daemon refuses it without `allow_empty = true`"
                .to_owned(),
        );
    }
    changes.list.sort_by_key(Change::section);
    changes
}

/// A place in a tree: where the key at a pointer of a file is written, or else where its table stands.
fn site(set: &ManifestSet, side: Side, table: &Position, pointer: &str) -> Site {
    let written = set.written_at(&table.file, pointer);
    Site {
        side,
        position: written.unwrap_or_else(|| table.clone()),
    }
}

/// The place in the second tree if the key is written there, else in the first one if it was written there, else the
/// table in the second one.
fn nearest_site(
    (from, from_table): (&ManifestSet, &Position),
    (to, to_table): (&ManifestSet, &Position),
    pointer: &str,
) -> Site {
    let found = |set: &ManifestSet, side, table: &Position| {
        let position = set.written_at(&table.file, pointer)?;
        Some(Site { side, position })
    };
    found(to, Side::To, to_table)
        .or_else(|| found(from, Side::From, from_table))
        .unwrap_or_else(|| Site {
            side: Side::To,
            position: to_table.clone(),
        })
}
