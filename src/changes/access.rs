//! What can be said of who may do what, and in which words.

use std::collections::BTreeSet;

use super::condition::{
    Condition, Direction, FieldsChange, FilterChange, fields_change, filter_change,
};
use super::sentence::Sentence;
use super::{Mark, Site};
use crate::connector::access::{Grant, Lookups, Pattern, Verbs};
use crate::names::{KeyName, RoleName, ServiceName};

/// An application, by the names of its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// In the first tree; none if it is new.
    pub before: Option<KeyName>,
    /// In the second one; none if it is gone.
    pub after: Option<KeyName>,
}

impl Principal {
    /// The name that the key has now, or else had before.
    pub(super) fn name(&self) -> Option<KeyName> {
        self.after.clone().or_else(|| self.before.clone())
    }
}

/// Which spellings of components a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LetterCase {
    /// Those that have the case of the pattern.
    AsWritten,
    /// Those as well that differ from it in letter case alone, as far as another row grants them.
    Any,
    /// Only those that differ from it in letter case.
    Other,
}

impl LetterCase {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsWritten => "as-written",
            Self::Any => "any",
            Self::Other => "other",
        }
    }
}

/// Some components of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Components {
    /// Those that it covers …
    pub pattern: Pattern,
    /// … but for those that one of these covers.
    pub except: Vec<Pattern>,
    /// In which spelling.
    pub letter_case: LetterCase,
}

/// What becomes of a verb.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is granted, under this condition.
    Gained(Condition),
    /// It is no longer granted; before it was, under this condition.
    Lost(Condition),
    /// It is granted as before, but under another condition.
    Conditions {
        /// Other records.
        filter: Option<FilterChange>,
        /// Other columns.
        fields: Option<FieldsChange>,
    },
}

impl Effect {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Gained(_) => Mark::Added,
            Self::Lost(_) => Mark::Removed,
            Self::Conditions { .. } => Mark::Changed,
        }
    }

    /// For programs.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Gained(_) => "gained",
            Self::Lost(_) => "lost",
            Self::Conditions { .. } => "conditions",
        }
    }

    pub(super) fn between(
        before: Option<(&Grant, &Lookups)>,
        after: Option<(&Grant, &Lookups)>,
    ) -> Option<Self> {
        match (before, after) {
            (None, None) => None,
            (None, Some((grant, _))) => Some(Self::Gained(Condition::of(grant))),
            (Some((grant, _)), None) => Some(Self::Lost(Condition::of(grant))),
            (Some(before), Some(after)) => {
                let filter = filter_change(before, after);
                let fields = fields_change(before.0, after.0);
                (filter.is_some() || fields.is_some())
                    .then_some(Self::Conditions { filter, fields })
            }
        }
    }

    /// The directions in which it goes.
    pub(super) fn directions(&self) -> impl Iterator<Item = Direction> {
        let found = match self {
            Self::Gained(_) => [Some(Direction::Widened), None],
            Self::Lost(_) => [Some(Direction::Narrowed), None],
            Self::Conditions { filter, fields } => [
                filter.as_ref().map(|change| change.direction),
                fields.as_ref().map(|change| change.direction),
            ],
        };
        found.into_iter().flatten()
    }

    /// Whether a call that was good may be refused or lack something, not counting records.
    pub(super) fn takes_away(&self) -> bool {
        match self {
            Self::Gained(_) => false,
            Self::Lost(_) => true,
            Self::Conditions { fields, .. } => fields
                .as_ref()
                .is_some_and(|fields| fields.direction != Direction::Widened),
        }
    }

    /// Whether two effects are alike but for their details.
    pub(super) fn resembles(&self, other: &Self) -> bool {
        let directions = |effect: &Self| effect.directions().collect::<BTreeSet<_>>();
        self.mark() == other.mark() && directions(self).is_superset(&directions(other))
    }
}

/// Why access changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The key is new.
    KeyAdded,
    /// The key is gone.
    KeyRemoved,
    /// The key is switched on.
    KeyActivated,
    /// The key is switched off.
    KeyDeactivated,
    /// The key has another role.
    KeyRole,
    /// Who holds the digest has another key now.
    KeyMoved,
    /// The role is switched on.
    RoleActivated,
    /// The role is switched off.
    RoleDeactivated,
    /// The service is new.
    ServiceAdded,
    /// The service is gone.
    ServiceRemoved,
    /// The service is switched on.
    ServiceActivated,
    /// The service is switched off.
    ServiceDeactivated,
    /// A row of the role is new.
    RowAdded,
    /// A row of the role says something else.
    RowChanged,
    /// A row of the role is gone.
    RowRemoved,
    /// A name in the filter has another value.
    Lookup,
}

impl Cause {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyAdded => "key-added",
            Self::KeyRemoved => "key-removed",
            Self::KeyActivated => "key-activated",
            Self::KeyDeactivated => "key-deactivated",
            Self::KeyRole => "key-role",
            Self::KeyMoved => "key-moved",
            Self::RoleActivated => "role-activated",
            Self::RoleDeactivated => "role-deactivated",
            Self::ServiceAdded => "service-added",
            Self::ServiceRemoved => "service-removed",
            Self::ServiceActivated => "service-activated",
            Self::ServiceDeactivated => "service-deactivated",
            Self::RowAdded => "row-added",
            Self::RowChanged => "row-changed",
            Self::RowRemoved => "row-removed",
            Self::Lookup => "lookup",
        }
    }

    /// For people.
    const fn words(self) -> &'static str {
        match self {
            Self::KeyAdded => "the key is new",
            Self::KeyRemoved => "the key is gone",
            Self::KeyActivated => "the key is switched on",
            Self::KeyDeactivated => "the key is switched off",
            Self::KeyRole => "the key has another role",
            Self::KeyMoved => "the digest belongs to another key",
            Self::RoleActivated => "the role is switched on",
            Self::RoleDeactivated => "the role is switched off",
            Self::ServiceAdded => "the service is new",
            Self::ServiceRemoved => "the service is gone",
            Self::ServiceActivated => "the service is switched on",
            Self::ServiceDeactivated => "the service is switched off",
            Self::RowAdded => "a row is added",
            Self::RowChanged => "a row is changed",
            Self::RowRemoved => "a row is removed",
            Self::Lookup => "a lookup has another value",
        }
    }
}

/// A change of what somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessChange {
    /// Whom it concerns: applications that have the same roles before and after.
    pub principals: Vec<Principal>,
    /// Their role before.
    pub role_before: Option<RoleName>,
    /// Their role now.
    pub role_after: Option<RoleName>,
    /// In which services.
    pub services: Vec<ServiceName>,
    /// On which components of each of them.
    pub components: Vec<Components>,
    /// Which verbs.
    pub verbs: Verbs,
    /// What becomes of them.
    pub effect: Effect,
    /// Why.
    pub cause: Cause,
    /// The rows that decide: of the second tree, or of the first one for what is lost.
    pub rows: Vec<Site>,
}

impl AccessChange {
    pub(super) fn sentence(&self) -> Sentence {
        let who = subject(
            &self.principals,
            self.role_before.as_ref(),
            self.role_after.as_ref(),
        );
        let is_one = self.principals.len() == 1;
        let verbs: Vec<&str> = self.verbs.names().collect();
        let on = |sentence: Sentence, action: &str| {
            sentence
                .words(format!(" {action} "))
                .name(verbs.join(", "))
                .words(" on ")
                .and(self.places())
        };
        let sentence = match &self.effect {
            Effect::Gained(condition) => {
                let action = if is_one { "gains" } else { "gain" };
                on(who, action).and(under(condition))
            }
            Effect::Lost(condition) => {
                let action = if is_one { "loses" } else { "lose" };
                on(who, action).and(under(condition))
            }
            Effect::Conditions { filter, fields } => {
                let mut sentence = on(who.words(":"), "may still");
                if let Some(filter) = filter {
                    sentence = sentence.words(", for ").and(records(filter));
                }
                if let Some(fields) = fields {
                    sentence = sentence.words(", ").and(columns(fields));
                }
                sentence
            }
        };
        match self.cause {
            // The filter's words name it.
            Cause::Lookup => sentence,
            cause => sentence.words(format!(" ({})", cause.words())),
        }
    }

    /// `northwind/_table/orders/*`
    fn places(&self) -> Sentence {
        let mut sentence = Sentence::default();
        let many = self.services.len() > 1 && self.components.len() > 1;
        if many {
            sentence = sentence
                .words("the services ")
                .names(&self.services)
                .words(": ");
        }
        let prefixes: Vec<String> = match self.services.as_slice() {
            _ if many => vec![String::new()],
            services => services.iter().map(|name| format!("{name}/")).collect(),
        };
        let places: Vec<(String, &Components)> = prefixes
            .iter()
            .flat_map(|prefix| {
                self.components
                    .iter()
                    .map(move |components| (prefix.clone(), components))
            })
            .collect();
        // Components are what a reviewer looks for, so all of them are named; services may be many.
        let shown = if self.components.len() > 1 {
            places.len()
        } else {
            MAX_SERVICES
        };
        for (index, (prefix, components)) in places.iter().take(shown).enumerate() {
            if index > 0 {
                sentence = sentence.words(", ");
            }
            sentence = sentence.and(place(prefix, components));
        }
        if places.len() > shown {
            sentence = sentence.words(format!(" and {} more services", places.len() - shown));
        }
        sentence
    }
}

/// Most services that one line names.
const MAX_SERVICES: usize = 12;

/// Some components, with the service before them.
fn place(service: &str, components: &Components) -> Sentence {
    let mut sentence = Sentence::default().name(match &components.pattern {
        Pattern::Exact(text) if text.is_empty() => match service {
            "" => "\"\"".to_owned(),
            service => service.trim_end_matches('/').to_owned(),
        },
        pattern => format!("{service}{pattern}"),
    });
    if components.pattern == Pattern::Exact(String::new()) {
        sentence = sentence.words(" (the root)");
    }
    if components.letter_case == LetterCase::Other {
        sentence = sentence.words(" in other letter case");
    }
    for (index, except) in components.except.iter().enumerate() {
        sentence = sentence.words(if index == 0 { " except " } else { " and " });
        sentence = match except.to_string() {
            text if text.is_empty() => sentence.words("the root"),
            text => sentence.name(text),
        };
    }
    sentence
}

/// `keys demo, till (role reader → editor)`
pub(super) fn subject(
    principals: &[Principal],
    role_before: Option<&RoleName>,
    role_after: Option<&RoleName>,
) -> Sentence {
    let words = if principals.len() == 1 {
        "key "
    } else {
        "keys "
    };
    let names = principals
        .iter()
        .map(|principal| match (&principal.before, &principal.after) {
            (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
            (_, Some(name)) | (Some(name), None) => name.to_string(),
            (None, None) => String::new(),
        });
    let sentence = Sentence::of(words).names(names);
    match (role_before, role_after) {
        (Some(before), Some(after)) if before != after => sentence
            .words(" (role ")
            .name(before)
            .words(" → ")
            .name(after)
            .words(")"),
        (_, Some(role)) | (Some(role), None) => sentence.words(" (role ").name(role).words(")"),
        (None, None) => sentence,
    }
}

fn under(condition: &Condition) -> Sentence {
    let mut sentence = Sentence::default();
    if let Some(filter) = &condition.filter {
        sentence = sentence.words(" where ").text(filter);
    }
    if let Some(fields) = &condition.fields {
        sentence = sentence.words(", only the columns ").and(all(fields));
    }
    sentence
}

/// Names with commas between them, however many.
fn all<T: AsRef<str>>(names: &[T]) -> Sentence {
    let mut sentence = Sentence::default();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            sentence = sentence.words(", ");
        }
        sentence = sentence.name(name.as_ref());
    }
    sentence
}

fn records(change: &FilterChange) -> Sentence {
    let sentence = match (&change.before, &change.after) {
        (None, Some(after)) => Sentence::of("fewer records: only those where ").text(after),
        (Some(before), None) => {
            Sentence::of("more records: no longer only those where ").text(before)
        }
        (before, after) => {
            let words = match change.direction {
                Direction::Widened => "more records: ",
                Direction::Narrowed => "fewer records: ",
                Direction::Either => "other records: ",
            };
            let sentence = Sentence::of(words).text(before.as_deref().unwrap_or_default());
            match after {
                Some(_) if before == after => sentence,
                Some(after) => sentence.words(" → ").text(after),
                None => sentence,
            }
        }
    };
    if change.lookups.is_empty() {
        sentence
    } else {
        sentence
            .words(", where ")
            .and(all(&change.lookups))
            .words(if change.lookups.len() == 1 {
                " has another value"
            } else {
                " have other values"
            })
    }
}

fn columns(change: &FieldsChange) -> Sentence {
    match (&change.before, &change.after) {
        (Some(before), None) => Sentence::of("with every column: no longer only ").and(all(before)),
        (None, Some(after)) => Sentence::of("with fewer columns: only ").and(all(after)),
        _ => {
            let (gained, lost) = (change.gained(), change.lost());
            let mut sentence = Sentence::of("with other columns:");
            if !gained.is_empty() {
                sentence = sentence.words(" also ").and(all(&gained));
            }
            if !lost.is_empty() {
                let words = if gained.is_empty() {
                    " no longer "
                } else {
                    ", no longer "
                };
                sentence = sentence.words(words).and(all(&lost));
            }
            sentence
        }
    }
}
