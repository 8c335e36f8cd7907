//! Who may do what that they could not do before, and the other way round: for every key, every service, every verb and
//! every class of components that the rows of its role tell apart.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::access::{AccessChange, Cause, Components, Effect, LetterCase, Principal};
use super::api::{self, Reader};
use super::condition::Direction;
use super::keys::{Entry, Pair, Pairs};
use super::roles::{Differences, News, row_site};
use super::services::reopening_sites;
use super::space::{Part, Space};
use super::{Change, Class, Side, Site, Tables, What, nearest_site, services};
use crate::auth::application::Application;
use crate::auth::role::{CompiledRow, Requester, Role};
use crate::connector::Description;
use crate::connector::access::{Access, Decision, Grant, Pattern, SCHEMA, Verbs};
use crate::connector::filter::Filter;
use crate::connector::operation::{Component, Operation, find};
use crate::manifest::ManifestSet;
use crate::names::{KeyName, RoleName, ServiceName};
use crate::snapshot::assemble::application;
use crate::snapshot::candidate::Candidate;

/// What a key is good for in one tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Absent,
    /// Whatever its role is.
    Inactive,
    NoRole,
    RoleInactive(RoleName),
    Holds(RoleName),
}

impl Standing {
    fn of(entry: Option<Entry<'_>>, set: &ManifestSet) -> Self {
        let Some((_, key)) = entry else {
            return Self::Absent;
        };
        match &key.value.role {
            _ if !key.value.active => Self::Inactive,
            None => Self::NoRole,
            Some(role) => match set.roles.get(role.as_str()) {
                Some(found) if found.value.active => Self::Holds(role.clone()),
                _ => Self::RoleInactive(role.clone()),
            },
        }
    }

    fn role(&self) -> Option<&RoleName> {
        match self {
            Self::Holds(role) => Some(role),
            _ => None,
        }
    }
}

/// What decides what a key may do: keys for which all of it is equal are looked at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    before: Standing,
    after: Standing,
    is_moved: bool,
    /// The values of the names in the filters of the role.
    bound_before: BTreeMap<String, Option<String>>,
    bound_after: BTreeMap<String, Option<String>>,
}

/// One of the trees, as keys of one kind meet it.
struct Face<'a> {
    candidate: &'a Candidate,
    side: Side,
    role: Option<&'a Role>,
    application: Option<Application>,
}

impl<'a> Face<'a> {
    fn of(
        candidate: &'a Candidate,
        side: Side,
        standing: &Standing,
        key: Option<Entry<'_>>,
    ) -> Self {
        let role = standing
            .role()
            .and_then(|role| candidate.set.roles.get(role.as_str()));
        let application = key
            .filter(|_| role.is_some())
            .and_then(|(name, _)| application(&candidate.set, name.as_str()));
        Self {
            candidate,
            side,
            role: role.map(|role| &role.value),
            application,
        }
    }

    /// What may be touched in a service, if it is there and switched on.
    fn access(&self, service: &ServiceName) -> Option<Access> {
        let found = self.candidate.set.services.get(service.as_str())?;
        let application = self.application.as_ref().filter(|_| found.value.active)?;
        application.access(service).ok()
    }

    /// Whether a service is switched on; none if it is not there.
    fn state(&self, service: &ServiceName) -> Option<bool> {
        let found = self.candidate.set.services.get(service.as_str())?;
        Some(found.value.active)
    }

    /// The rows that concern a service, with their index.
    fn rows(&self, service: &str) -> impl Iterator<Item = (usize, &'a CompiledRow)> {
        let rows = self
            .role
            .map(|role| role.rows.as_slice())
            .unwrap_or_default();
        rows.iter()
            .enumerate()
            .filter(move |(_, row)| row.concerns(service, Requester::Api))
    }

    /// The row that a decision quotes.
    fn row(&self, position: &Arc<str>) -> Option<usize> {
        let rows = &self.role?.rows;
        rows.iter()
            .position(|row| Arc::ptr_eq(&row.rule.position, position))
    }

    fn row_site(&self, index: usize) -> Option<Site> {
        row_site(&self.candidate.set, self.side, &self.role?.name, index)
    }

    fn operations(&self, service: &ServiceName) -> &[Operation] {
        let config = self.candidate.configs.services.get(service.as_str());
        config.map(|config| config.operations()).unwrap_or_default()
    }
}

/// What the rows of a role in one service decide for a verb.
fn granted(decision: Option<&Decision>) -> Option<Grant> {
    match decision? {
        Decision::Granted(grant) => Some(grant.clone()),
        Decision::Denied(_) | Decision::NotListed(_) | Decision::NoRow => None,
    }
}

/// The verbs, one by one.
fn each_verb() -> impl Iterator<Item = Verbs> {
    Verbs::NAMES
        .iter()
        .filter_map(|name| Some(Verbs::of(&name.parse().ok()?)))
}

/// Keys of one kind between two trees.
pub(super) struct Comparison<'a> {
    kind: &'a Kind,
    pairs: &'a [Pair<'a>],
    from: Face<'a>,
    to: Face<'a>,
    roles: &'a Differences<'a>,
}

/// One service for keys of one kind.
struct InService<'a> {
    comparison: &'a Comparison<'a>,
    service: &'a ServiceName,
    before: Option<Access>,
    after: Option<Access>,
    /// What causes a difference that access does not.
    sites: OnceCell<Vec<Site>>,
}

/// A line of a service before it is joined with those of others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    effect: Effect,
    cause: Cause,
    /// The row that is the cause. Lines of several rows stay apart, so that each names its own.
    row: Option<Site>,
    verbs: u8,
    components: Vec<Components>,
    is_breaking: bool,
}

/// What decides how a service differs for keys of one kind: services for which all of it is equal are looked at once.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    /// The rows that concern it, before and now.
    rows: [Vec<usize>; 2],
    /// Whether it is there and switched on.
    states: [Option<bool>; 2],
    /// Where its operations lie in memory.
    operations: [usize; 2],
    /// Its name, if its backend told of tables.
    with_tables: Option<ServiceName>,
}

/// How a service differs for keys of one kind.
struct Outcome {
    /// Each with the rows that decide.
    lines: Vec<(Line, BTreeSet<Site>)>,
    differences: Vec<api::Difference>,
}

/// What happens, why, and the row that is the cause.
type Reason = (Effect, Cause, Option<Site>);

/// What is found at components that are spelt otherwise than every row.
struct Otherwise {
    reason: Reason,
    verb: u8,
    component: String,
    /// The class of the spelling that rows have.
    folded: usize,
    granting: Option<Site>,
}

/// What is found at one class for one verb.
struct Found {
    effect: Effect,
    cause: Cause,
    row: Option<Site>,
    /// The row that grants it now, or did before.
    granting: Option<Site>,
}

/// The rows that decide about a verb on a component, by their index in the role.
#[derive(Clone, Copy)]
struct Deciding {
    /// In the first tree.
    old: Option<usize>,
    /// In the second one.
    new: Option<usize>,
}

pub(super) fn compare(
    from: &Candidate,
    to: &Candidate,
    keys: &Pairs<'_>,
    roles: &Differences<'_>,
    tables: &Tables,
    list: &mut Vec<Change>,
) {
    let mut kinds: BTreeMap<Kind, Vec<Pair<'_>>> = BTreeMap::new();
    for pair in &keys.list {
        let kind = kind_of(*pair, &from.set, &to.set);
        if kind.before.role().is_some() || kind.after.role().is_some() {
            kinds.entry(kind).or_default().push(*pair);
        }
    }
    let services: BTreeSet<&ServiceName> = from
        .set
        .services
        .keys()
        .chain(to.set.services.keys())
        .collect();
    let mut described = api::Found::default();
    let mut found: BTreeMap<About, (Vec<Principal>, Vec<Site>)> = BTreeMap::new();
    for (kind, pairs) in &kinds {
        let first = pairs.first();
        let comparison = Comparison {
            kind,
            pairs,
            from: Face::of(
                from,
                Side::From,
                &kind.before,
                first.and_then(|pair| pair.before),
            ),
            to: Face::of(to, Side::To, &kind.after, first.and_then(|pair| pair.after)),
            roles,
        };
        let mut lines: BTreeMap<Line, (Vec<ServiceName>, BTreeSet<Site>)> = BTreeMap::new();
        let mut alike: BTreeMap<Likeness, Outcome> = BTreeMap::new();
        for service in &services {
            let Some(in_service) = comparison.in_service(service) else {
                continue;
            };
            let outcome = alike
                .entry(in_service.likeness(tables))
                .or_insert_with(|| in_service.outcome(tables));
            for (line, deciding) in &outcome.lines {
                let (services, rows) = lines.entry(line.clone()).or_default();
                services.push((*service).clone());
                rows.extend(deciding.iter().cloned());
            }
            for difference in &outcome.differences {
                let sites = in_service.sites_of_operation(difference);
                described.add(difference, service, &comparison, sites);
            }
        }
        for (line, (services, rows)) in lines {
            let sites = comparison.sites_of(&line, &services, &rows);
            let about = About {
                roles: comparison.roles(),
                line,
                services,
                rows,
            };
            let (principals, all_sites) = found.entry(about).or_default();
            principals.extend(comparison.principals());
            let known: BTreeSet<Site> = all_sites.iter().cloned().collect();
            all_sites.extend(sites.into_iter().filter(|site| !known.contains(site)));
        }
    }
    let mut changes: Vec<(Option<KeyName>, Change)> = found
        .into_iter()
        .map(|(about, (mut principals, sites))| {
            principals.sort_by_cached_key(Principal::name);
            let first = principals.first().and_then(Principal::name);
            (first, about.change(principals, sites))
        })
        .collect();
    changes.sort_by(|(left, _), (right, _)| left.cmp(right));
    list.extend(changes.into_iter().map(|(_, change)| change));
    described.finish(list);
}

/// All of a change of access but whom it concerns.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct About {
    roles: (Option<RoleName>, Option<RoleName>),
    line: Line,
    services: Vec<ServiceName>,
    rows: BTreeSet<Site>,
}

impl About {
    fn change(self, principals: Vec<Principal>, sites: Vec<Site>) -> Change {
        let line = self.line;
        let mut classes: BTreeSet<Class> = line
            .effect
            .directions()
            .flat_map(|direction| match direction {
                Direction::Widened => vec![Class::AccessWidened],
                Direction::Narrowed => vec![Class::AccessNarrowed],
                Direction::Either => vec![Class::AccessWidened, Class::AccessNarrowed],
            })
            .collect();
        if line.is_breaking {
            classes.insert(Class::Breaking);
        }
        let (role_before, role_after) = self.roles;
        Change {
            classes,
            sites,
            what: What::Access(AccessChange {
                principals,
                role_before,
                role_after,
                services: self.services,
                components: line.components,
                verbs: verbs_of(line.verbs),
                effect: line.effect,
                cause: line.cause,
                rows: self.rows.into_iter().collect(),
            }),
        }
    }
}

fn kind_of(pair: Pair<'_>, from: &ManifestSet, to: &ManifestSet) -> Kind {
    let before = Standing::of(pair.before, from);
    let after = Standing::of(pair.after, to);
    let is_moved = match (pair.before, pair.after) {
        // Under another name and still there: the digest moved.
        (Some((old, _)), Some((new, _))) => old != new && to.keys.contains_key(old.as_str()),
        _ => false,
    } || matches!((pair.before, pair.after), (Some((old, _)), Some((new, _)))
        if old != new && from.keys.contains_key(new.as_str()));
    Kind {
        bound_before: bound(&before, pair.before, from),
        bound_after: bound(&after, pair.after, to),
        before,
        after,
        is_moved,
    }
}

/// The values that a key gives to the names in the filters of its role.
fn bound(
    standing: &Standing,
    key: Option<Entry<'_>>,
    set: &ManifestSet,
) -> BTreeMap<String, Option<String>> {
    let role = standing
        .role()
        .and_then(|role| set.roles.get(role.as_str()));
    let (Some(role), Some((name, key))) = (role, key) else {
        return BTreeMap::new();
    };
    let filters = (role.value.rows.iter()).filter_map(|row| row.rule.filter.as_deref());
    filters
        .flat_map(Filter::lookups)
        .map(|lookup| {
            let value = match lookup.split_once('.') {
                Some(("lookup", own)) => key
                    .value
                    .lookup
                    .get(own)
                    .or_else(|| Some(&set.lookups.get(own)?.value))
                    .cloned(),
                Some(("key" | "app", "name")) => Some(name.to_string()),
                _ => None,
            };
            (lookup.to_owned(), value)
        })
        .collect()
}

impl<'a> Comparison<'a> {
    /// What is there to compare in a service; none if nothing can differ.
    fn in_service(&'a self, service: &'a ServiceName) -> Option<InService<'a>> {
        let (before, after) = (self.from.access(service), self.to.access(service));
        let is_same = before.is_some() == after.is_some()
            && self.kind.before == self.kind.after
            && self.kind.bound_before == self.kind.bound_after
            && !self.rows_differ(service);
        let is_open = before.is_some() || after.is_some();
        (is_open && !(is_same && self.service_is_same(service))).then_some(InService {
            comparison: self,
            service,
            before,
            after,
            sites: OnceCell::new(),
        })
    }

    fn rows_differ(&self, service: &ServiceName) -> bool {
        let role = self.kind.after.role();
        let Some(difference) = role.and_then(|role| self.roles.get(role)) else {
            return false;
        };
        let concerns = |face: &Face<'_>, news: &BTreeMap<usize, News>| {
            face.rows(service.as_str())
                .any(|(index, _)| news.contains_key(&index))
        };
        concerns(&self.to, &difference.new) || concerns(&self.from, &difference.gone)
    }

    /// Whether a service is described alike by both trees.
    fn service_is_same(&self, service: &ServiceName) -> bool {
        let config = |face: &Face<'a>| face.candidate.configs.services.get(service.as_str());
        match (config(&self.from), config(&self.to)) {
            (Some(before), Some(after)) => before.same_as(after.as_ref()),
            (None, None) => true,
            _ => false,
        }
    }

    /// A cause that concerns everything that a key may do in a service.
    fn wide_cause(&self, service: &ServiceName) -> Option<Cause> {
        use Standing::{Absent, Holds, Inactive, RoleInactive};
        let whole = match (&self.kind.before, &self.kind.after) {
            _ if self.kind.is_moved => Some(Cause::KeyMoved),
            (Absent, _) => Some(Cause::KeyAdded),
            (_, Absent) => Some(Cause::KeyRemoved),
            (Inactive, _) => Some(Cause::KeyActivated),
            (_, Inactive) => Some(Cause::KeyDeactivated),
            (Holds(before), Holds(after)) if before == after => None,
            (RoleInactive(before), Holds(after)) if before == after => Some(Cause::RoleActivated),
            (Holds(before), RoleInactive(after)) if before == after => Some(Cause::RoleDeactivated),
            _ => Some(Cause::KeyRole),
        };
        whole.or_else(
            || match (self.from.state(service), self.to.state(service)) {
                (None, _) => Some(Cause::ServiceAdded),
                (_, None) => Some(Cause::ServiceRemoved),
                (Some(false), Some(true)) => Some(Cause::ServiceActivated),
                (Some(true), Some(false)) => Some(Cause::ServiceDeactivated),
                (Some(_), Some(_)) => None,
            },
        )
    }

    /// The places of a cause in all services that it concerns.
    fn sites(&self, cause: Cause, services: &[ServiceName], effect: &Effect) -> Vec<Site> {
        let (from, to) = (&self.from.candidate.set, &self.to.candidate.set);
        let of_keys = |key: &'static str| {
            let pairs = self.pairs.iter();
            pairs.filter_map(move |pair| key_site(*pair, from, to, key))
        };
        let of_role = || {
            let name = self.kind.after.role().or(self.kind.before.role())?;
            let (old, new) = (from.roles.get(name.as_str())?, to.roles.get(name.as_str())?);
            let pointer = format!("/role/{name}/active");
            Some(nearest_site(
                (from, &old.position),
                (to, &new.position),
                &pointer,
            ))
        };
        let of_service = |name: &ServiceName| {
            let name = name.as_str();
            let (old, new) = (from.services.get(name)?, to.services.get(name)?);
            let pointer = format!("/service/{name}/active");
            Some(nearest_site(
                (from, &old.position),
                (to, &new.position),
                &pointer,
            ))
        };
        let services = services.iter();
        let mut sites: Vec<Site> = match cause {
            Cause::KeyAdded | Cause::KeyRemoved => of_keys("").collect(),
            Cause::KeyActivated | Cause::KeyDeactivated => of_keys("/active").collect(),
            Cause::KeyRole => of_keys("/role").collect(),
            Cause::KeyMoved => of_keys("/sha256").collect(),
            Cause::RoleActivated | Cause::RoleDeactivated => of_role().into_iter().collect(),
            Cause::ServiceAdded => services
                .filter_map(|name| services::table_of(to, Side::To, name.as_str()))
                .collect(),
            Cause::ServiceRemoved => services
                .filter_map(|name| services::table_of(from, Side::From, name.as_str()))
                .collect(),
            Cause::ServiceActivated | Cause::ServiceDeactivated => {
                services.filter_map(of_service).collect()
            }
            Cause::Lookup => self.lookup_sites(effect),
            // The row stands in the line itself.
            Cause::RowAdded | Cause::RowChanged | Cause::RowRemoved => Vec::new(),
        };
        let mut known = BTreeSet::new();
        sites.retain(|site| known.insert(site.clone()));
        sites
    }

    /// Where the names of a filter get their values.
    fn lookup_sites(&self, effect: &Effect) -> Vec<Site> {
        let Effect::Conditions {
            filter: Some(change),
            ..
        } = effect
        else {
            return Vec::new();
        };
        let (from, to) = (&self.from.candidate.set, &self.to.candidate.set);
        let one = |name: &str, pair: &Pair<'_>| {
            let Some(own) = name.strip_prefix("lookup.") else {
                return key_site(*pair, from, to, "");
            };
            let at = |set: &ManifestSet, side: Side, key: Option<Entry<'_>>| {
                let (name, key) = key?;
                let pointer = format!("/key/{name}/lookup/{own}");
                let position = set
                    .written_at(&key.position.file, &pointer)
                    .or_else(|| Some(set.lookups.get(own)?.position.clone()))?;
                Some(Site { side, position })
            };
            at(to, Side::To, pair.after).or_else(|| at(from, Side::From, pair.before))
        };
        change
            .lookups
            .iter()
            .flat_map(|name| self.pairs.iter().filter_map(move |pair| one(name, pair)))
            .collect()
    }

    /// The places of everything that causes a line, the nearest cause first.
    fn sites_of(&self, line: &Line, services: &[ServiceName], rows: &BTreeSet<Site>) -> Vec<Site> {
        let causes = self.sites(line.cause, services, &line.effect);
        let mut sites: Vec<Site> = line.row.iter().cloned().chain(causes).collect();
        let known: BTreeSet<Site> = sites.iter().cloned().collect();
        sites.extend(rows.difference(&known).cloned());
        sites
    }

    /// The roles of the keys, before and now.
    pub(super) fn roles(&self) -> (Option<RoleName>, Option<RoleName>) {
        let role = |standing: &Standing| standing.role().cloned();
        (role(&self.kind.before), role(&self.kind.after))
    }

    /// Whom it concerns.
    pub(super) fn principals(&self) -> Vec<Principal> {
        let name = |entry: Option<Entry<'_>>| entry.map(|(name, _)| name.clone());
        self.pairs
            .iter()
            .map(|pair| Principal {
                before: name(pair.before),
                after: name(pair.after),
            })
            .collect()
    }
}

/// The verbs of a mask.
fn verbs_of(mask: u8) -> Verbs {
    each_verb()
        .filter(|verb| verb.mask() & mask != 0)
        .fold(Verbs::NONE, Verbs::union)
}

/// Where a key of the table of a key stands.
fn key_site(pair: Pair<'_>, from: &ManifestSet, to: &ManifestSet, key: &str) -> Option<Site> {
    let of = |set: &ManifestSet, side: Side, entry: Option<Entry<'_>>| {
        let (name, table) = entry?;
        let written = (!key.is_empty())
            .then(|| set.written_at(&table.position.file, &format!("/key/{name}{key}")))
            .flatten();
        Some((
            written.is_some(),
            Site {
                side,
                position: written.unwrap_or_else(|| table.position.clone()),
            },
        ))
    };
    let found: Vec<(bool, Site)> = [
        of(to, Side::To, pair.after),
        of(from, Side::From, pair.before),
    ]
    .into_iter()
    .flatten()
    .collect();
    // What is no longer written is where it was.
    let written = found.iter().find(|(is_written, _)| *is_written);
    written.or(found.first()).map(|(_, site)| site.clone())
}

impl InService<'_> {
    fn likeness(&self, tables: &Tables) -> Likeness {
        let faces = [&self.comparison.from, &self.comparison.to];
        let has_tables =
            tables.from.contains_key(self.service) || tables.to.contains_key(self.service);
        Likeness {
            rows: faces.map(|face| {
                let rows = face.rows(self.service.as_str());
                rows.map(|(index, _)| index).collect()
            }),
            states: faces.map(|face| face.state(self.service)),
            operations: faces.map(|face| face.operations(self.service).as_ptr().addr()),
            with_tables: has_tables.then(|| self.service.clone()),
        }
    }

    fn outcome(&self, tables: &Tables) -> Outcome {
        let is_there = |standing: &Standing| standing.role().is_some();
        let kind = self.comparison.kind;
        Outcome {
            lines: self.lines(),
            // Who comes or goes has nothing to compare with.
            differences: if is_there(&kind.before) && is_there(&kind.after) {
                let (from, to) = (&self.comparison.from, &self.comparison.to);
                api::compare(
                    self.service,
                    self.reader(from, self.before.as_ref(), &tables.from)
                        .as_ref(),
                    self.reader(to, self.after.as_ref(), &tables.to).as_ref(),
                )
            } else {
                Vec::new()
            },
        }
    }

    fn reader<'a>(
        &self,
        face: &'a Face<'_>,
        access: Option<&Access>,
        tables: &'a BTreeMap<ServiceName, Description>,
    ) -> Option<Reader<'a>> {
        Some(Reader {
            operations: face.operations(self.service),
            access: access?.clone(),
            details: tables.get(self.service),
        })
    }

    /// What becomes of a verb on a component.
    fn at(&self, component: &str, verb: Verbs) -> Option<Found> {
        let decide = |access: &Option<Access>| {
            let access = access.as_ref()?;
            Some(access.decide(component, verb))
        };
        let decisions = [decide(&self.before), decide(&self.after)];
        let [before, after] = decisions
            .each_ref()
            .map(|decision| granted(decision.as_ref()));
        let with = |grant: &'_ Option<Grant>, access: &'_ Option<Access>| {
            Some((grant.clone()?, Arc::clone(access.as_ref()?.lookups())))
        };
        let (old, new) = (with(&before, &self.before), with(&after, &self.after));
        let effect = Effect::between(
            old.as_ref().map(|(grant, lookups)| (grant, &**lookups)),
            new.as_ref().map(|(grant, lookups)| (grant, &**lookups)),
        )?;
        let (from, to) = (&self.comparison.from, &self.comparison.to);
        let row_of =
            |face: &Face<'_>, decision: &Option<Decision>| face.row(decision.as_ref()?.position()?);
        let [old, new] = &decisions;
        let rows = Deciding {
            old: row_of(from, old),
            new: row_of(to, new),
        };
        let granting = match &effect {
            Effect::Lost(_) => rows.old.and_then(|row| from.row_site(row)),
            Effect::Gained(_) | Effect::Conditions { .. } => {
                rows.new.and_then(|row| to.row_site(row))
            }
        };
        let (cause, row) = match self.comparison.wide_cause(self.service) {
            Some(cause) => (cause, None),
            None => self.narrow_cause(component, verb, rows, &effect),
        };
        Some(Found {
            effect,
            cause,
            row,
            granting,
        })
    }

    /// The row that is the cause, where role, key and service are the same as before; or a lookup.
    fn narrow_cause(
        &self,
        component: &str,
        verb: Verbs,
        rows: Deciding,
        effect: &Effect,
    ) -> (Cause, Option<Site>) {
        let (from, to) = (&self.comparison.from, &self.comparison.to);
        let role = self.comparison.kind.after.role();
        let difference = role.and_then(|role| self.comparison.roles.get(role));
        let is_lookup = matches!(effect, Effect::Conditions { filter: Some(filter), fields: None }
            if filter.before == filter.after);
        let Some(difference) = difference.filter(|_| !is_lookup) else {
            return (Cause::Lookup, None);
        };
        let new = |index: usize, is_telling: &dyn Fn(&News) -> bool| {
            let news = difference.new.get(&index).filter(|news| is_telling(news))?;
            Some(match news.counterpart {
                Some(_) => (Cause::RowChanged, to.row_site(index)),
                None => (Cause::RowAdded, to.row_site(index)),
            })
        };
        let gone = |index: usize, is_telling: &dyn Fn(&News) -> bool| {
            let news = difference
                .gone
                .get(&index)
                .filter(|news| is_telling(news))?;
            Some(match news.counterpart {
                Some(counterpart) => (Cause::RowChanged, to.row_site(counterpart)),
                None => (Cause::RowRemoved, from.row_site(index)),
            })
        };
        let about_verb = |news: &News| news.verbs.contain(verb);
        let anything = |_: &News| true;
        // Of the rows that cover the component, the most specific that differs.
        let covering = |face: &Face<'_>| {
            let mut rows: Vec<(usize, &CompiledRow)> = face
                .rows(self.service.as_str())
                .filter(|(_, row)| row.rule.pattern.covers(component, false))
                .collect();
            rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.rule.rank()));
            rows.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
        };
        let any_new = || {
            covering(to)
                .into_iter()
                .find_map(|index| new(index, &anything))
        };
        let any_gone = || {
            covering(from)
                .into_iter()
                .find_map(|index| gone(index, &anything))
        };
        let found = match effect {
            Effect::Lost(_) => (rows.new.and_then(|row| new(row, &anything)))
                .or_else(|| rows.old.and_then(|row| gone(row, &about_verb)))
                .or_else(any_new)
                .or_else(any_gone),
            Effect::Gained(_) => (rows.new.and_then(|row| new(row, &about_verb)))
                .or_else(|| rows.old.and_then(|row| gone(row, &anything)))
                .or_else(any_gone)
                .or_else(any_new),
            Effect::Conditions { .. } => (rows.new.and_then(|row| new(row, &about_verb)))
                .or_else(|| rows.old.and_then(|row| gone(row, &about_verb)))
                .or_else(any_gone)
                .or_else(any_new),
        };
        found.unwrap_or_else(|| {
            let row = rows.new.and_then(|row| to.row_site(row));
            (Cause::RowChanged, row)
        })
    }

    /// Everything that differs in the service, with the rows that decide.
    fn lines(&self) -> Vec<(Line, BTreeSet<Site>)> {
        let service = self.service.as_str();
        // Changes of a schema have a rule of their own, so its components are always told apart.
        let schema = Pattern::Below(SCHEMA.to_owned());
        let patterns: Vec<&Pattern> = [&self.comparison.from, &self.comparison.to]
            .into_iter()
            .flat_map(|face| face.rows(service))
            .map(|(_, row)| &row.rule.pattern)
            .chain([&schema])
            .collect();
        let space = Space::of(patterns);
        let reachable = self.reachable(&space);
        // By what happens and why: for each verb, the classes.
        let mut written: BTreeMap<Reason, BTreeMap<u8, BTreeSet<usize>>> = BTreeMap::new();
        let mut granting: BTreeMap<(Reason, u8), BTreeSet<Site>> = BTreeMap::new();
        let mut otherwise: Vec<Otherwise> = Vec::new();
        for (index, class) in space.classes.iter().enumerate() {
            for verb in each_verb() {
                let Some(found) = self.at(&class.component, verb) else {
                    continue;
                };
                let reason = (found.effect, found.cause, found.row);
                if let Some(folded) = class.folded {
                    otherwise.push(Otherwise {
                        reason,
                        verb: verb.mask(),
                        component: class.component.clone(),
                        folded,
                        granting: found.granting,
                    });
                    continue;
                }
                let verbs = written.entry(reason.clone()).or_default();
                verbs.entry(verb.mask()).or_default().insert(index);
                let rows = granting.entry((reason, verb.mask())).or_default();
                rows.extend(found.granting);
            }
        }
        let mut lines = Vec::new();
        for (reason, verbs) in written {
            for (classes, verbs) in joined(verbs) {
                let parts = space.parts(&classes);
                let components = parts.into_iter().map(|part| {
                    let mut letter_case = LetterCase::AsWritten;
                    otherwise.retain(|other| {
                        let is_alike =
                            other.verb & verbs != 0 && reason.0.resembles(&other.reason.0);
                        let is_within = space.classes.get(other.folded).is_some_and(|class| {
                            classes.contains(&other.folded) && covers(&part, &class.component)
                        });
                        if is_alike && is_within {
                            letter_case = LetterCase::Any;
                        }
                        // Spelt otherwise than an exception, it is no exception.
                        !(is_alike && (is_within || covers(&part, &other.component)))
                    });
                    if part.pattern == Pattern::Everything {
                        // It has every spelling in it already.
                        letter_case = LetterCase::AsWritten;
                    }
                    Components {
                        pattern: part.pattern,
                        except: part.except,
                        letter_case,
                    }
                });
                let components: Vec<Components> = components.collect();
                let rows = (granting.iter())
                    .filter(|((of, verb), _)| *of == reason && verb & verbs != 0)
                    .flat_map(|(_, rows)| rows.clone())
                    .collect();
                let is_reached = classes.iter().any(|class| {
                    reachable
                        .iter()
                        .any(|(of, verb)| of == class && verb & verbs != 0)
                });
                lines.push((line(&reason, verbs, components, is_reached), rows));
            }
        }
        lines.extend(other_lines(&space, otherwise));
        lines
    }

    /// The classes and verbs for which the service of the first tree has an operation.
    fn reachable(&self, space: &Space) -> BTreeSet<(usize, u8)> {
        let service = self.service.as_str();
        let operations = self.comparison.from.operations(self.service);
        let mut reachable = BTreeSet::new();
        for operation in operations {
            let class = space.class_of(&component_of(operation.path, space.fresh));
            reachable.extend(class.map(|class| (class, Verbs::of(&operation.method).mask())));
        }
        for (index, class) in space.classes.iter().enumerate() {
            let segments = class.component.split('/').filter(|part| !part.is_empty());
            let component = Component::new(segments.map(str::to_owned).collect(), false);
            for name in Verbs::NAMES {
                if let Ok(method) = name.parse()
                    && find(operations, service, &method, &component).is_ok()
                {
                    reachable.insert((index, Verbs::of(&method).mask()));
                }
            }
        }
        reachable
    }

    /// Where the cause of a difference in the description stands: what differs in access to one of its operations, or
    /// else the service.
    fn sites_of_operation(&self, difference: &api::Difference) -> Vec<Site> {
        let comparison = self.comparison;
        let from_access = || {
            let verb = Verbs::of(&difference.method.parse().ok()?);
            let found = self.at(&difference.component(), verb)?;
            let mut sites: Vec<Site> = found.row.into_iter().collect();
            let services = [self.service.clone()];
            sites.extend(comparison.sites(found.cause, &services, &found.effect));
            sites.extend(found.granting.filter(|site| !sites.contains(site)));
            Some(sites)
        };
        from_access()
            .filter(|sites| !sites.is_empty())
            .unwrap_or_else(|| {
                let sites = self.sites.get_or_init(|| {
                    let (from, to) = (&comparison.from.candidate.set, &comparison.to.candidate.set);
                    reopening_sites(from, to, self.service)
                });
                sites.clone()
            })
    }
}

/// What differs for components that are spelt otherwise than the rows, and for no others.
fn other_lines(space: &Space, found: Vec<Otherwise>) -> Vec<(Line, BTreeSet<Site>)> {
    #[derive(Default)]
    struct Alike {
        /// The classes, by verb.
        verbs: BTreeMap<u8, BTreeSet<usize>>,
        rows: BTreeSet<Site>,
    }
    let mut by_reason: BTreeMap<Reason, Alike> = BTreeMap::new();
    for other in found {
        let alike = by_reason.entry(other.reason).or_default();
        alike
            .verbs
            .entry(other.verb)
            .or_default()
            .insert(other.folded);
        alike.rows.extend(other.granting);
    }
    let mut lines = Vec::new();
    for (reason, alike) in by_reason {
        for (classes, verbs) in joined(alike.verbs) {
            let components = (space.parts(&classes).into_iter())
                .map(|part| Components {
                    pattern: part.pattern,
                    except: part.except,
                    letter_case: LetterCase::Other,
                })
                .collect();
            let line = line(&reason, verbs, components, false);
            lines.push((line, alike.rows.clone()));
        }
    }
    lines
}

fn line(
    (effect, cause, row): &Reason,
    verbs: u8,
    components: Vec<Components>,
    is_reached: bool,
) -> Line {
    Line {
        effect: effect.clone(),
        cause: *cause,
        row: row.clone(),
        verbs,
        components,
        is_breaking: is_reached && effect.takes_away(),
    }
}

/// Verbs that hold for the same classes, together.
fn joined(verbs: BTreeMap<u8, BTreeSet<usize>>) -> BTreeMap<BTreeSet<usize>, u8> {
    let mut joined: BTreeMap<BTreeSet<usize>, u8> = BTreeMap::new();
    for (verb, classes) in verbs {
        *joined.entry(classes).or_default() |= verb;
    }
    joined
}

fn covers(part: &Part, component: &str) -> bool {
    part.pattern.covers(component, true)
        && !part
            .except
            .iter()
            .any(|except| except.covers(component, true))
}

/// A component that an operation takes, with something that no row names in place of its parameters.
fn component_of(path: &str, fresh: char) -> String {
    let pieces = path.split('/').filter(|piece| !piece.is_empty());
    let pieces: Vec<String> = pieces
        .map(|piece| {
            if piece.starts_with('{') {
                fresh.to_string()
            } else {
                piece.to_owned()
            }
        })
        .collect();
    pieces.join("/")
}
