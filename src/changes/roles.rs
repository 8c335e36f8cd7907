//! Which roles come and go, and which of their rows say something else.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::canonical_text;
use super::sentence::Sentence;
use super::{Change, Class, Mark, Side, Site, What, nearest_site, site};
use crate::auth::role::{CompiledRow, Requester, Role};
use crate::connector::access::{Pattern, Verbs};
use crate::manifest::{Located, ManifestSet};
use crate::names::{RoleName, ServiceName};

/// What changes about a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// It is new.
    Added {
        /// How many rows it has.
        rows: usize,
    },
    /// It is gone.
    Removed {
        /// How many rows it had.
        rows: usize,
    },
    /// Its rows say something else, whatever that means for those who have it.
    Rows {
        /// Rows that are new.
        added: usize,
        /// Rows that cover what a row covered before, and say something else of it.
        changed: usize,
        /// Rows that are gone.
        removed: usize,
        /// Whether some key has the role.
        is_used: bool,
    },
    /// It is switched on.
    Activated,
    /// It is switched off.
    Deactivated,
    /// It is described in other words.
    Description,
}

impl RoleChange {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Added { .. } => Mark::Added,
            Self::Removed { .. } => Mark::Removed,
            Self::Rows { .. } | Self::Activated | Self::Deactivated | Self::Description => {
                Mark::Changed
            }
        }
    }

    /// For programs.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed { .. } => "removed",
            Self::Rows { .. } => "rows",
            Self::Activated => "activated",
            Self::Deactivated => "deactivated",
            Self::Description => "description",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Added { .. } => Class::RoleAdded,
            Self::Removed { .. } => Class::RoleRemoved,
            Self::Rows { .. } | Self::Activated | Self::Deactivated | Self::Description => {
                Class::RoleChanged
            }
        }
    }

    pub(super) fn sentence(&self, name: &RoleName) -> Sentence {
        let role = Sentence::of("role ").name(name);
        let count = |rows: usize| super::keys::counted(rows, "row");
        match self {
            Self::Added { rows } => role.words(format!(" ({}) is added", count(*rows))),
            Self::Removed { rows } => role.words(format!(" ({}) is removed", count(*rows))),
            Self::Rows {
                added,
                changed,
                removed,
                is_used,
            } => {
                let parts: Vec<String> =
                    [(added, "added"), (changed, "changed"), (removed, "removed")]
                        .into_iter()
                        .filter(|(number, _)| **number > 0)
                        .map(|(number, what)| format!("{} {what}", count(*number)))
                        .collect();
                let note = if *is_used {
                    ""
                } else {
                    "; no key has this role"
                };
                role.words(format!(": {}{note}", parts.join(", ")))
            }
            Self::Activated => role.words(" is switched on"),
            Self::Deactivated => role.words(" is switched off"),
            Self::Description => role.words(": another description"),
        }
    }
}

/// The least that a row says: one verb for one kind of caller. Rows may be joined and split without meaning anything
/// else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    service: Option<ServiceName>,
    is_for_scripts: bool,
    pattern: Pattern,
    verb: &'static str,
    deny: bool,
    filter: Option<String>,
    fields: Option<BTreeSet<String>>,
}

fn cells(row: &CompiledRow) -> impl Iterator<Item = Cell> + '_ {
    let filter = row.rule.filter.as_deref().map(canonical_text);
    row.requesters.iter().flat_map(move |requester| {
        let filter = filter.clone();
        row.rule.verbs.names().map(move |verb| Cell {
            service: row.service.clone(),
            is_for_scripts: *requester == Requester::Script,
            pattern: row.rule.pattern.clone(),
            verb,
            deny: row.rule.deny,
            filter: filter.clone(),
            fields: row.rule.fields.as_deref().cloned(),
        })
    })
}

/// A row that says something that no row of the other tree says.
#[derive(Debug)]
pub(super) struct News {
    /// The verbs of callers for which that is so.
    pub(super) verbs: Verbs,
    /// The row of the other tree that is about the same.
    pub(super) counterpart: Option<usize>,
}

/// How the rows of a role differ: by their index.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Rows of the second tree.
    pub(super) new: BTreeMap<usize, News>,
    /// Rows of the first one.
    pub(super) gone: BTreeMap<usize, News>,
}

impl Difference {
    fn of(before: &Role, after: &Role) -> Self {
        Self {
            new: news(&after.rows, &before.rows),
            gone: news(&before.rows, &after.rows),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

fn news(rows: &[CompiledRow], others: &[CompiledRow]) -> BTreeMap<usize, News> {
    let known: BTreeSet<Cell> = others.iter().flat_map(cells).collect();
    let mut found = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let unknown: Vec<Cell> = cells(row).filter(|cell| !known.contains(cell)).collect();
        if unknown.is_empty() {
            continue;
        }
        let verbs = unknown
            .iter()
            .filter(|cell| !cell.is_for_scripts)
            .filter_map(|cell| cell.verb.parse().ok())
            .fold(Verbs::NONE, |verbs, method| verbs.union(Verbs::of(&method)));
        let counterpart = others.iter().position(|other| {
            other.service == row.service
                && other.rule.pattern == row.rule.pattern
                && other.rule.deny == row.rule.deny
        });
        found.insert(index, News { verbs, counterpart });
    }
    found
}

/// How the roles that are in both trees differ.
pub(super) struct Differences<'a>(BTreeMap<&'a RoleName, Difference>);

impl<'a> Differences<'a> {
    pub(super) fn of(from: &'a ManifestSet, to: &'a ManifestSet) -> Self {
        let both = to.roles.iter().filter_map(|(name, new)| {
            let old = from.roles.get(name.as_str())?;
            Some((name, Difference::of(&old.value, &new.value)))
        });
        Self(both.filter(|(_, found)| !found.is_empty()).collect())
    }

    /// How a role differs; none if it does not.
    pub(super) fn get(&self, name: &RoleName) -> Option<&Difference> {
        self.0.get(name)
    }
}

/// Where a row stands.
pub(super) fn row_site(
    set: &ManifestSet,
    side: Side,
    name: &RoleName,
    index: usize,
) -> Option<Site> {
    let table = &set.roles.get(name.as_str())?.position;
    Some(site(
        set,
        side,
        table,
        &format!("/role/{name}/access/{index}"),
    ))
}

pub(super) fn compare(
    differences: &Differences<'_>,
    from: &ManifestSet,
    to: &ManifestSet,
    list: &mut Vec<Change>,
) {
    let mut add = |name: &RoleName, change: RoleChange, sites: Vec<Site>| {
        list.push(Change {
            classes: [change.class()].into(),
            what: What::Role {
                name: name.clone(),
                change,
            },
            sites,
        });
    };
    let table = |side, role: &Located<Role>| {
        let position = role.position.clone();
        vec![Site { side, position }]
    };
    for (name, role) in &from.roles {
        if !to.roles.contains_key(name.as_str()) {
            let rows = role.value.rows.len();
            add(name, RoleChange::Removed { rows }, table(Side::From, role));
        }
    }
    for (name, new) in &to.roles {
        let Some(old) = from.roles.get(name.as_str()) else {
            let rows = new.value.rows.len();
            add(name, RoleChange::Added { rows }, table(Side::To, new));
            continue;
        };
        let at = |key: &str| {
            let pointer = format!("/role/{name}/{key}");
            nearest_site((from, &old.position), (to, &new.position), &pointer)
        };
        if let Some(difference) = differences.get(name) {
            let (change, sites) = rows(difference, name, from, to);
            add(name, change, sites);
        }
        if old.value.active != new.value.active {
            let change = if new.value.active {
                RoleChange::Activated
            } else {
                RoleChange::Deactivated
            };
            add(name, change, vec![at("active")]);
        }
        let description = |role: &Role| role.description.clone().unwrap_or_default();
        if description(&old.value) != description(&new.value) {
            add(name, RoleChange::Description, vec![at("description")]);
        }
    }
}

fn rows(
    difference: &Difference,
    name: &RoleName,
    from: &ManifestSet,
    to: &ManifestSet,
) -> (RoleChange, Vec<Site>) {
    let mut sites = BTreeSet::new();
    let mut changed = BTreeSet::new();
    let (mut added, mut removed) = (0, 0);
    for (index, news) in &difference.new {
        match news.counterpart {
            Some(_) => {
                changed.insert(*index);
            }
            None => added += 1,
        }
        sites.extend(row_site(to, Side::To, name, *index));
    }
    for (index, news) in &difference.gone {
        if let Some(counterpart) = news.counterpart {
            changed.insert(counterpart);
            sites.extend(row_site(to, Side::To, name, counterpart));
        } else {
            removed += 1;
            sites.extend(row_site(from, Side::From, name, *index));
        }
    }
    let has_role = |set: &ManifestSet| {
        let mut keys = set.keys.values();
        keys.any(|key| key.value.role.as_ref() == Some(name))
    };
    let change = RoleChange::Rows {
        added,
        changed: changed.len(),
        removed,
        is_used: has_role(from) || has_role(to),
    };
    // What is in the second tree comes first.
    let mut sites: Vec<Site> = sites.into_iter().collect();
    sites.sort_by_key(|site| site.side == Side::From);
    (change, sites)
}
