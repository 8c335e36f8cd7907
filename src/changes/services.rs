//! Which services come, go, are opened anew, or are merely called something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sentence::Sentence;
use super::{Change, Changes, Class, Mark, Side, Site, What, nearest_site};
use crate::manifest::difference::{Difference, Kind};
use crate::manifest::{Located, ManifestSet, Schemas, Service};
use crate::names::ServiceName;
use crate::snapshot::candidate::Candidate;

/// The key of a config that stands for what is in its contract file.
const CONTRACT_FILE: &str = "/contract_file";

/// Most pairs of removed and added services that are compared to find one that was renamed.
const MAX_RENAMED_PAIRS: usize = 250_000;

/// What changes about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// It is new.
    Added {
        /// Its type.
        kind: &'static str,
        /// A service that is gone and had the same type and config.
        looks_like: Option<ServiceName>,
    },
    /// It is gone.
    Removed {
        /// Its type.
        kind: &'static str,
        /// A service that is new and has the same type and config.
        looks_like: Option<ServiceName>,
    },
    /// It is opened anew, because it is of another type.
    Type {
        /// The type before.
        before: &'static str,
        /// The type now.
        after: &'static str,
    },
    /// It is opened anew, because its config differs.
    Config(Vec<Difference>),
    /// It is called something else.
    Label {
        /// The label before; without one, the name is shown.
        before: String,
        /// The label now.
        after: String,
    },
    /// It is described in other words.
    Description,
    /// It is switched on.
    Activated,
    /// It is switched off.
    Deactivated,
}

impl ServiceChange {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Added { .. } => Mark::Added,
            Self::Removed { .. } => Mark::Removed,
            Self::Type { .. }
            | Self::Config(_)
            | Self::Label { .. }
            | Self::Description
            | Self::Activated
            | Self::Deactivated => Mark::Changed,
        }
    }

    /// For programs.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed { .. } => "removed",
            Self::Type { .. } => "type",
            Self::Config(_) => "config",
            Self::Label { .. } => "label",
            Self::Description => "description",
            Self::Activated => "activated",
            Self::Deactivated => "deactivated",
        }
    }

    /// Another config may open other data, allow what was read-only or refuse what was served: nobody can prove the
    /// contrary without the backend.
    fn classes(&self) -> BTreeSet<Class> {
        let unknown = [
            Class::ServiceReopened,
            Class::AccessWidened,
            Class::Breaking,
        ];
        match self {
            Self::Added { .. } => [Class::ServiceAdded].into(),
            Self::Removed { .. } => [Class::ServiceRemoved].into(),
            Self::Config(differences) if differences.iter().all(changes_no_answer) => {
                [Class::ServiceReopened].into()
            }
            Self::Type { .. } | Self::Config(_) => unknown.into(),
            Self::Label { .. } | Self::Description | Self::Activated | Self::Deactivated => {
                [Class::ServiceChanged].into()
            }
        }
    }

    pub(super) fn sentence(&self, name: &ServiceName) -> Sentence {
        let service = Sentence::of("service ").name(name);
        let like = |sentence: Sentence, words: &str, other: &Option<ServiceName>| match other {
            Some(other) => sentence
                .words(format!("; it looks like {words} "))
                .name(other)
                .words(" under another name"),
            None => sentence,
        };
        match self {
            Self::Added { kind, looks_like } => {
                let sentence = service.words(" (").name(kind).words(") is added");
                like(sentence, "the removed", looks_like)
            }
            Self::Removed { kind, looks_like } => {
                let sentence = service.words(" (").name(kind).words(") is removed");
                like(sentence, "the added", looks_like)
            }
            Self::Type { before, after } => service
                .words(" is opened anew: type ")
                .name(before)
                .words(" → ")
                .name(after),
            Self::Config(differences) => {
                let mut sentence = service.words(" is opened anew: ");
                for (index, difference) in differences.iter().enumerate() {
                    if index > 0 {
                        sentence = sentence.words(", ");
                    }
                    sentence = sentence
                        .name(difference.key())
                        .words(words_for(difference.kind));
                }
                sentence
            }
            Self::Label { before, after } => service
                .words(": label ")
                .text(before)
                .words(" → ")
                .text(after),
            Self::Description => service.words(": another description"),
            Self::Activated => service.words(" is switched on"),
            Self::Deactivated => service.words(" is switched off"),
        }
    }
}

/// Whether a difference concerns how a backend is reached, and neither its data nor what may be done with them.
fn changes_no_answer(difference: &Difference) -> bool {
    const HOW: [&str; 8] = [
        "max_connections",
        "read_connections",
        "connect_timeout_seconds",
        "busy_timeout_milliseconds",
        "statement_timeout_seconds",
        "application_name",
        "ca",
        "schema_check_seconds",
    ];
    difference.kind != Kind::Value
        || HOW.contains(&difference.key().as_str())
        || is_word_for_people(&difference.pointer)
}

/// Whether a key of a database's tables is only read by people: what they call tables, columns and relations. All else
/// there may show what was hidden or let be written what was not.
fn is_word_for_people(pointer: &str) -> bool {
    let segments: Vec<&str> = pointer.split('/').skip(1).collect();
    match segments.as_slice() {
        ["table", _, key] => matches!(*key, "label" | "plural" | "description" | "name_field"),
        ["table", _, "column" | "relation_alias", _, key] => {
            matches!(*key, "label" | "description")
        }
        _ => false,
    }
}

/// What to say of a key of a config that differs; never its value.
const fn words_for(kind: Kind) -> &'static str {
    match kind {
        Kind::Value => " differs",
        Kind::SecretAdded => " is a secret that was not there before",
        Kind::SecretRemoved => " is gone",
        Kind::SecretReference => " refers to another secret",
        Kind::SecretText => " is another text, written in the tree",
        Kind::SecretExposed => " was a reference and is written in the tree now",
        Kind::SecretHidden => " was written in the tree and is a reference now",
    }
}

/// The key of the JSON for how a key of a config differs.
pub(super) const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Value => "value",
        Kind::SecretAdded => "secret-added",
        Kind::SecretRemoved => "secret-removed",
        Kind::SecretReference => "secret-reference",
        Kind::SecretText => "secret-text",
        Kind::SecretExposed => "secret-exposed",
        Kind::SecretHidden => "secret-hidden",
    }
}

/// A service of one tree.
type Entry<'a> = (&'a ServiceName, &'a Arc<Located<Service>>);

pub(super) fn compare(from: &Candidate, to: &Candidate, changes: &mut Changes) {
    let (before, after) = (&from.set.services, &to.set.services);
    let gone: Vec<Entry<'_>> = before
        .iter()
        .filter(|(name, _)| !after.contains_key(name.as_str()))
        .collect();
    let new: Vec<Entry<'_>> = after
        .iter()
        .filter(|(name, _)| !before.contains_key(name.as_str()))
        .collect();
    let renamed = renamed(from, to, &gone, &new);
    let mut add = |name: &ServiceName, change: ServiceChange, sites: Vec<Site>| {
        changes.list.push(Change {
            classes: change.classes(),
            what: What::Service {
                name: name.clone(),
                change,
            },
            sites,
        });
    };
    let table = |side, position: &crate::manifest::Position| {
        let position = position.clone();
        vec![Site { side, position }]
    };
    for (name, service) in gone {
        let change = ServiceChange::Removed {
            kind: service.value.service_type.name,
            looks_like: renamed.get(name).map(|new| (*new).clone()),
        };
        add(name, change, table(Side::From, &service.position));
    }
    for (name, service) in &new {
        let old = renamed.iter().find(|(_, new)| *new == name);
        let change = ServiceChange::Added {
            kind: service.value.service_type.name,
            looks_like: old.map(|(old, _)| (*old).clone()),
        };
        add(name, change, table(Side::To, &service.position));
    }
    let mut kept = Vec::new();
    for (name, new) in after {
        let Some(old) = before.get(name.as_str()) else {
            continue;
        };
        let at = |key: &str| {
            let pointer = format!("/service/{name}{key}");
            let (old, new) = (&old.position, &new.position);
            nearest_site((&from.set, old), (&to.set, new), &pointer)
        };
        match reopening(&from.set, &to.set, name) {
            Some(change) => {
                let sites = reopening_sites(&from.set, &to.set, name);
                add(name, change, sites);
            }
            None => kept.push(name.clone()),
        }
        if new.value.active != old.value.active {
            let change = if new.value.active {
                ServiceChange::Activated
            } else {
                ServiceChange::Deactivated
            };
            add(name, change, vec![at("/active")]);
        }
        let label = |service: &Service| service.label.clone().unwrap_or_else(|| name.to_string());
        let (before, after) = (label(&old.value), label(&new.value));
        if before != after {
            add(
                name,
                ServiceChange::Label { before, after },
                vec![at("/label")],
            );
        }
        let description = |service: &Service| service.description.clone().unwrap_or_default();
        if description(&new.value) != description(&old.value) {
            add(name, ServiceChange::Description, vec![at("/description")]);
        }
    }
    changes.kept = kept;
}

/// Services that are gone, each with one that is new and has the same type and config. Where several would do, it is
/// left open.
fn renamed<'a>(
    from: &Candidate,
    to: &Candidate,
    gone: &[Entry<'a>],
    new: &[Entry<'a>],
) -> BTreeMap<&'a ServiceName, &'a ServiceName> {
    let same = |(_, old): Entry<'_>, (_, new): Entry<'_>| {
        old.value.service_type.name == new.value.service_type.name
            && new
                .value
                .differences(&old.value, Schemas::standard())
                .is_empty()
    };
    // Only typed configs that are equal are looked at key by key.
    let typed = |(old, _): Entry<'_>, (new, _): Entry<'_>| {
        let old = from.configs.services.get(old.as_str());
        let new = to.configs.services.get(new.as_str());
        matches!((old, new), (Some(old), Some(new)) if old.same_as(new.as_ref()))
    };
    if gone.len().saturating_mul(new.len()) > MAX_RENAMED_PAIRS {
        return BTreeMap::new();
    }
    let only = |mut found: Vec<Entry<'a>>| (found.len() == 1).then(|| found.pop()).flatten();
    gone.iter()
        .filter_map(|old| {
            let same_as_old = |new: &&Entry<'a>| typed(*old, **new) && same(*old, **new);
            let found = only(new.iter().filter(same_as_old).copied().collect())?;
            let back = |old: &&Entry<'a>| typed(**old, found) && same(**old, found);
            only(gone.iter().filter(back).copied().collect())?;
            Some((old.0, found.0))
        })
        .collect()
}

/// Why a service is opened anew, if it is.
fn reopening(from: &ManifestSet, to: &ManifestSet, name: &ServiceName) -> Option<ServiceChange> {
    let old = &from.services.get(name)?.value;
    let new = &to.services.get(name)?.value;
    let (before, after) = (old.service_type.name, new.service_type.name);
    if before != after {
        return Some(ServiceChange::Type { before, after });
    }
    let mut differences = new.differences(old, Schemas::standard());
    let contracts = from.contract(name.as_str()).zip(to.contract(name.as_str()));
    let is_locked_anew = contracts.is_some_and(|(before, after)| before.bytes != after.bytes);
    if is_locked_anew
        && !differences
            .iter()
            .any(|found| found.pointer == CONTRACT_FILE)
    {
        differences.push(Difference {
            pointer: CONTRACT_FILE.to_owned(),
            kind: Kind::Value,
        });
    }
    (!differences.is_empty()).then_some(ServiceChange::Config(differences))
}

/// Where stands what makes a service be opened anew; else its table, in the second tree if it is there.
pub(super) fn reopening_sites(
    from: &ManifestSet,
    to: &ManifestSet,
    name: &ServiceName,
) -> Vec<Site> {
    let both = from.services.get(name).zip(to.services.get(name));
    let keys: Vec<String> = match reopening(from, to, name) {
        Some(ServiceChange::Type { .. }) => vec!["/type".to_owned()],
        Some(ServiceChange::Config(differences)) => {
            let differences = differences.iter();
            differences
                .map(|difference| format!("/config{}", difference.pointer))
                .collect()
        }
        _ => Vec::new(),
    };
    let at = |key: String| {
        let (old, new) = both?;
        let pointer = format!("/service/{name}{key}");
        let (old, new) = (&old.position, &new.position);
        Some(nearest_site((from, old), (to, new), &pointer))
    };
    let sites: Vec<Site> = keys.into_iter().filter_map(at).collect();
    if !sites.is_empty() {
        return sites;
    }
    let table = table_of(to, Side::To, name.as_str());
    let table = table.or_else(|| table_of(from, Side::From, name.as_str()));
    table.into_iter().collect()
}

/// The place of the table of a service, in one of the trees.
pub(super) fn table_of(set: &ManifestSet, side: Side, name: &str) -> Option<Site> {
    let position = set.services.get(name)?.position.clone();
    Some(Site { side, position })
}
