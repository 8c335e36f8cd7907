//! Which applications come, go, take another name, or are let in with other credentials or at other times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};

use super::sentence::Sentence;
use super::{Change, Class, Mark, Side, Site, What, nearest_site, site};
use crate::auth::key::KeyDigest;
use crate::manifest::key::Moment;
use crate::manifest::{KeyTable, Located, ManifestSet};
use crate::names::{KeyName, RoleName};

/// What changes about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is new.
    Added {
        /// Its role.
        role: Option<RoleName>,
    },
    /// It is gone.
    Removed {
        /// The role that it had.
        role: Option<RoleName>,
    },
    /// All its digests were those of a key that is gone: it has another name.
    Renamed {
        /// The name before.
        before: KeyName,
    },
    /// Digests that were another key's: who holds them is this application now.
    Moved {
        /// The key that they belonged to.
        before: KeyName,
        /// How many.
        count: usize,
        /// Whether both keys are accepted at the same times and places.
        alike: bool,
    },
    /// Digests are added or removed.
    Digests {
        /// How many are new.
        added: usize,
        /// How many are no longer accepted.
        removed: usize,
        /// How many stay.
        kept: usize,
    },
    /// It has another role.
    Role {
        /// The role before.
        before: Option<RoleName>,
        /// The role now.
        after: Option<RoleName>,
    },
    /// It is switched on.
    Activated,
    /// It is switched off.
    Deactivated,
    /// It is accepted from another moment on.
    NotBefore {
        /// The moment before; none for any time.
        before: Option<DateTime<Utc>>,
        /// The moment now.
        after: Option<DateTime<Utc>>,
    },
    /// It is accepted up to another moment.
    Expires {
        /// The moment before; none for ever.
        before: Option<DateTime<Utc>>,
        /// The moment now.
        after: Option<DateTime<Utc>>,
    },
    /// Whether it may stand in the query string.
    AllowQuery(bool),
    /// A value of its own for filters.
    Lookup {
        /// The name.
        name: String,
        /// Whether it comes, goes or has another value.
        mark: Mark,
    },
    /// It is called something else.
    Label {
        /// The label before; may be empty.
        before: String,
        /// The label now; may be empty.
        after: String,
    },
    /// It is described in other words.
    Description,
}

impl KeyChange {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Added { .. } => Mark::Added,
            Self::Removed { .. } => Mark::Removed,
            _ => Mark::Changed,
        }
    }

    /// For programs.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed { .. } => "removed",
            Self::Renamed { .. } => "renamed",
            Self::Moved { .. } => "digests-moved",
            Self::Digests { .. } => "digests",
            Self::Role { .. } => "role",
            Self::Activated => "activated",
            Self::Deactivated => "deactivated",
            Self::NotBefore { .. } => "not-before",
            Self::Expires { .. } => "expires",
            Self::AllowQuery(_) => "allow-query",
            Self::Lookup { .. } => "lookup",
            Self::Label { .. } => "label",
            Self::Description => "description",
        }
    }

    fn classes(&self) -> BTreeSet<Class> {
        let mut classes = BTreeSet::from([match self {
            Self::Added { .. } => Class::KeyAdded,
            Self::Removed { .. } => Class::KeyRemoved,
            Self::Lookup { .. } => Class::LookupChanged,
            _ => Class::KeyChanged,
        }]);
        match self {
            Self::Moved { alike: true, .. } | Self::AllowQuery(true) => {
                classes.insert(Class::CredentialsChanged);
            }
            // Who holds them may be accepted longer, or no longer.
            Self::Moved { alike: false, .. } => {
                classes.extend([
                    Class::CredentialsChanged,
                    Class::AccessWidened,
                    Class::Breaking,
                ]);
            }
            Self::AllowQuery(false) => {
                classes.extend([Class::CredentialsChanged, Class::Breaking]);
            }
            Self::Digests { removed, kept, .. } => {
                classes.insert(Class::CredentialsChanged);
                // Whoever holds a digest that is gone is refused from now on.
                if *removed > 0 && *kept == 0 {
                    classes.insert(Class::Breaking);
                }
            }
            Self::Removed { .. } | Self::Deactivated => {
                classes.insert(Class::Breaking);
            }
            // Without a moment it begins at once, so an earlier or missing one gives more time.
            Self::NotBefore { before, after } => {
                classes.insert(wider(before > after));
            }
            // Without a moment it never ends: a missing one gives more time than any.
            Self::Expires { before, after } => classes.extend([wider(match (before, after) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(before), Some(after)) => after > before,
            })]),
            _ => {}
        }
        classes
    }

    pub(super) fn sentence(&self, name: &KeyName) -> Sentence {
        let key = Sentence::of("key ").name(name);
        let with_role = |sentence: Sentence, role: &Option<RoleName>| match role {
            Some(role) => sentence.words(" (role ").name(role).words(")"),
            None => sentence.words(" (without a role)"),
        };
        let or_none = |sentence: Sentence, role: &Option<RoleName>| match role {
            Some(role) => sentence.name(role),
            None => sentence.words("none"),
        };
        let moment =
            |sentence: Sentence, moment: &Option<DateTime<Utc>>, without: &str| match moment {
                Some(moment) => sentence.name(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => sentence.words(without),
            };
        match self {
            Self::Added { role } => with_role(key, role).words(" is added"),
            Self::Removed { role } => with_role(key, role).words(" is removed"),
            Self::Renamed { before } => key.words(" was called ").name(before),
            Self::Moved { before, count, .. } => key
                .words(format!(": {count} of its digests belonged to key "))
                .name(before)
                .words("; who holds them is this application now"),
            Self::Digests {
                added,
                removed,
                kept,
            } => key.words(format!(
                ": {} added, {removed} removed, {kept} kept",
                counted(*added, "digest")
            )),
            Self::Role { before, after } => {
                or_none(or_none(key.words(": role "), before).words(" → "), after)
            }
            Self::Activated => key.words(" is switched on"),
            Self::Deactivated => key.words(" is switched off"),
            Self::NotBefore { before, after } => {
                let always = "the beginning";
                let sentence = moment(key.words(": accepted from "), before, always);
                moment(sentence.words(" → "), after, always)
            }
            Self::Expires { before, after } => {
                let always = "for ever";
                let sentence = moment(key.words(": accepted until "), before, always);
                moment(sentence.words(" → "), after, always)
            }
            Self::AllowQuery(true) => key.words(" may stand in the query string now"),
            Self::AllowQuery(false) => key.words(" may no longer stand in the query string"),
            Self::Lookup { name, mark } => {
                let what = match mark {
                    Mark::Added => " is added",
                    Mark::Removed => " is removed",
                    Mark::Changed => " has another value",
                };
                key.words(": its own lookup ").name(name).words(what)
            }
            Self::Label { before, after } => {
                key.words(": label ").text(before).words(" → ").text(after)
            }
            Self::Description => key.words(": another description"),
        }
    }
}

const fn wider(is_wider: bool) -> Class {
    if is_wider {
        Class::AccessWidened
    } else {
        Class::AccessNarrowed
    }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A key of one tree.
pub(super) type Entry<'a> = (&'a KeyName, &'a Arc<Located<KeyTable>>);

/// Whoever can call: what its credentials stand for before and after. An application is who holds its digests, so a key
/// that takes another name is the same one still.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    /// In the first tree.
    pub(super) before: Option<Entry<'a>>,
    /// In the second one.
    pub(super) after: Option<Entry<'a>>,
}

/// All of them, sorted by the name after, or else before.
pub(super) struct Pairs<'a> {
    pub(super) list: Vec<Pair<'a>>,
    /// Keys that are the same under another name: after → before.
    renamed: BTreeMap<&'a KeyName, &'a KeyName>,
    /// Digests that went from one key to another: (before, after) → how many.
    moved: BTreeMap<(&'a KeyName, &'a KeyName), usize>,
}

impl<'a> Pairs<'a> {
    pub(super) fn of(from: &'a ManifestSet, to: &'a ManifestSet) -> Self {
        let digests = |set: &'a ManifestSet| -> BTreeMap<KeyDigest, &'a KeyName> {
            set.keys
                .iter()
                .flat_map(|(name, key)| key.value.sha256.iter().map(move |digest| (*digest, name)))
                .collect()
        };
        let old = digests(from);
        let mut moved: BTreeMap<(&KeyName, &KeyName), usize> = BTreeMap::new();
        for (digest, name) in digests(to) {
            if let Some(before) = old.get(&digest)
                && *before != name
            {
                *moved.entry((before, name)).or_default() += 1;
            }
        }
        // A key is renamed when the old name is gone, the new one is new, and no other key is involved.
        let alone = |is_one: &dyn Fn(&(&KeyName, &KeyName)) -> bool| {
            moved.keys().filter(|pair| is_one(pair)).count() == 1
        };
        let renamed: BTreeMap<&KeyName, &KeyName> = moved
            .keys()
            .filter(|(before, after)| {
                !to.keys.contains_key(before.as_str())
                    && !from.keys.contains_key(after.as_str())
                    && alone(&|(other, _)| other == before)
                    && alone(&|(_, other)| other == after)
            })
            .map(|(before, after)| (*after, *before))
            .collect();
        moved.retain(|(before, after), _| renamed.get(after) != Some(before));
        let entry = |set: &'a ManifestSet, name: &KeyName| set.keys.get_key_value(name.as_str());
        let mut list: Vec<Pair<'a>> = Vec::new();
        for (name, key) in &to.keys {
            let before = renamed.get(name).copied().unwrap_or(name);
            list.push(Pair {
                before: entry(from, before),
                after: Some((name, key)),
            });
        }
        for (name, key) in &from.keys {
            let is_renamed = renamed.values().any(|before| *before == name);
            if !is_renamed && !to.keys.contains_key(name.as_str()) {
                list.push(Pair {
                    before: Some((name, key)),
                    after: None,
                });
            }
        }
        for (before, after) in moved.keys() {
            list.push(Pair {
                before: entry(from, before),
                after: entry(to, after),
            });
        }
        list.sort_by_key(|pair| {
            let name = |entry: Option<Entry<'a>>| entry.map(|(name, _)| name);
            (name(pair.after.or(pair.before)), name(pair.before))
        });
        Self {
            list,
            renamed,
            moved,
        }
    }
}

pub(super) fn compare(
    pairs: &Pairs<'_>,
    from: &ManifestSet,
    to: &ManifestSet,
    list: &mut Vec<Change>,
) {
    let mut add = |name: &KeyName, change: KeyChange, sites: Vec<Site>| {
        list.push(Change {
            classes: change.classes(),
            what: What::Key {
                name: name.clone(),
                change,
            },
            sites,
        });
    };
    for ((before, after), count) in &pairs.moved {
        let (Some(old), Some(new)) = (from.keys.get(before.as_str()), to.keys.get(after.as_str()))
        else {
            continue;
        };
        let change = KeyChange::Moved {
            before: (*before).clone(),
            count: *count,
            alike: old.value.active == new.value.active
                && old.value.not_before == new.value.not_before
                && old.value.expires == new.value.expires
                && old.value.allow_query == new.value.allow_query,
        };
        let sites = vec![
            site(to, Side::To, &new.position, &format!("/key/{after}/sha256")),
            site(
                from,
                Side::From,
                &old.position,
                &format!("/key/{before}/sha256"),
            ),
        ];
        add(after, change, sites);
    }
    for pair in &pairs.list {
        match (pair.before, pair.after) {
            (None, None) => {}
            (Some((name, key)), None) => {
                let role = key.value.role.clone();
                let position = key.position.clone();
                let side = Side::From;
                add(
                    name,
                    KeyChange::Removed { role },
                    vec![Site { side, position }],
                );
            }
            (None, Some((name, key))) => {
                let role = key.value.role.clone();
                let position = key.position.clone();
                let side = Side::To;
                add(
                    name,
                    KeyChange::Added { role },
                    vec![Site { side, position }],
                );
            }
            (Some((old_name, old)), Some((name, new))) => {
                if pairs.renamed.get(name) == Some(&old_name) {
                    let change = KeyChange::Renamed {
                        before: old_name.clone(),
                    };
                    let position = new.position.clone();
                    let side = Side::To;
                    add(name, change, vec![Site { side, position }]);
                } else if old_name != name {
                    // What the digests moved to is compared under its own name.
                    continue;
                }
                let at = |key: &str| {
                    let here = to
                        .written_at(&new.position.file, &format!("/key/{name}{key}"))
                        .map(|position| Site {
                            side: Side::To,
                            position,
                        });
                    here.unwrap_or_else(|| {
                        let pointer = format!("/key/{old_name}{key}");
                        nearest_site((from, &old.position), (to, &new.position), &pointer)
                    })
                };
                for (change, key) in differences(&old.value, &new.value) {
                    add(name, change, vec![at(&key)]);
                }
            }
        }
    }
}

/// What is different about a key, each with the JSON pointer within the table.
fn differences(old: &KeyTable, new: &KeyTable) -> Vec<(KeyChange, String)> {
    // Named one by one, so that a new key of the table cannot be forgotten here.
    let KeyTable {
        label,
        description,
        active,
        role,
        sha256,
        not_before,
        expires,
        allow_query,
        lookup,
    } = new;
    let mut found = Vec::new();
    let mut add = |change: KeyChange, key: &str| found.push((change, key.to_owned()));
    let digests = |table: &[KeyDigest]| table.iter().copied().collect::<BTreeSet<KeyDigest>>();
    let (before, after) = (digests(&old.sha256), digests(sha256));
    if before != after {
        let kept = before.intersection(&after).count();
        let change = KeyChange::Digests {
            added: after.len() - kept,
            removed: before.len() - kept,
            kept,
        };
        add(change, "/sha256");
    }
    if old.role != *role {
        let change = KeyChange::Role {
            before: old.role.clone(),
            after: role.clone(),
        };
        add(change, "/role");
    }
    if old.active != *active {
        let change = if *active {
            KeyChange::Activated
        } else {
            KeyChange::Deactivated
        };
        add(change, "/active");
    }
    let utc = |moment: &Option<Moment>| moment.map(Moment::utc);
    if old.not_before != *not_before {
        let change = KeyChange::NotBefore {
            before: utc(&old.not_before),
            after: utc(not_before),
        };
        add(change, "/not_before");
    }
    if old.expires != *expires {
        let change = KeyChange::Expires {
            before: utc(&old.expires),
            after: utc(expires),
        };
        add(change, "/expires");
    }
    if old.allow_query != *allow_query {
        add(KeyChange::AllowQuery(*allow_query), "/allow_query");
    }
    for (lookup, mark) in marks(&old.lookup, lookup) {
        let change = KeyChange::Lookup {
            name: lookup.clone(),
            mark,
        };
        add(change, &format!("/lookup/{lookup}"));
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if text(&old.label) != text(label) {
        let change = KeyChange::Label {
            before: text(&old.label),
            after: text(label),
        };
        add(change, "/label");
    }
    if text(&old.description) != text(description) {
        add(KeyChange::Description, "/description");
    }
    found
}

/// Which names come, go or have another value.
pub(super) fn marks<'a, V: PartialEq>(
    before: &'a BTreeMap<String, V>,
    after: &'a BTreeMap<String, V>,
) -> Vec<(&'a String, Mark)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let mark = match (before.get(name), after.get(name)) {
                (None, _) => Mark::Added,
                (_, None) => Mark::Removed,
                (Some(before), Some(after)) if before != after => Mark::Changed,
                _ => return None,
            };
            Some((name, mark))
        })
        .collect()
}
