//! What the caller may touch in one service. Denies by default.
//!
//! The rules are compiled by `auth` from the rows of a role and asked by connectors: once for the path, and once
//! more for every table, file or routine that the call turns out to touch.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::connector::filter::Filter;
use crate::error::{Error, ErrorKind, Result, brief};

/// The fact of a refusal that names the row which decided.
pub const RULE_FACT: &str = "rule";

/// The component below which a service tells what its records are made of, and lets it be changed.
pub const SCHEMA: &str = "_schema";

/// Whether these verbs on a component change a schema: then only a row whose component begins with [`SCHEMA`] can grant
/// them. It is so whatever the type of the service, so that no decision needs to know it. Letter case does not count.
pub fn changes_schema(component: &str, verbs: Verbs) -> bool {
    let is_schema = component
        .get(..SCHEMA.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(SCHEMA))
        && matches!(component.as_bytes().get(SCHEMA.len()), None | Some(b'/'));
    is_schema && !verbs.without(Verbs::of(&Method::GET)).is_empty()
}

/// A set of verbs. HEAD counts as GET; OPTIONS needs no grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Verbs(u8);

impl Verbs {
    /// The verbs that a role can grant, in the order of the reference.
    pub const NAMES: [&'static str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    /// No verb.
    pub const NONE: Self = Self(0);
    /// All five.
    pub const ALL: Self = Self(0b1_1111);

    /// The set of one method; empty for a method that roles do not know.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self(1),
            Method::POST => Self(2),
            Method::PUT => Self(4),
            Method::PATCH => Self(8),
            Method::DELETE => Self(16),
            _ => Self::NONE,
        }
    }

    /// Whether all of `other` are in this set; false for an empty `other`.
    pub fn contain(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }

    /// Whether the sets share a verb.
    pub fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no verb in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bit mask that DreamFactory shows: GET 1, POST 2, PUT 4, PATCH 8, DELETE 16.
    pub fn mask(self) -> u8 {
        self.0
    }

    /// The names in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
    }
}

/// Which components a rule covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// `*`: the service root and all below.
    Everything,
    /// `_table/x`: this component alone; `""` is the root alone.
    Exact(String),
    /// `_table/x/*`: `_table/x` itself and all below.
    Below(String),
    /// `_table/cu*`: every component that begins so.
    Prefix(String),
}

impl Pattern {
    /// Reads a component as a role writes it. Slashes at either end do not count. A `*` anywhere but at the end
    /// is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        let below = text.strip_suffix("/*");
        let prefix = text.strip_suffix('*');
        let plain = below.or(prefix).unwrap_or(text).trim_start_matches('/');
        if plain.contains('*') {
            return Err(format!("`{text}` has a `*` that is not at its end"));
        }
        let plain = plain.trim_end_matches('/').to_owned();
        Ok(match (below, prefix) {
            (Some(_), _) if plain.is_empty() => Self::Everything,
            (Some(_), _) => Self::Below(plain),
            (None, Some(_)) => Self::Prefix(plain),
            (None, None) => Self::Exact(plain),
        })
    }

    /// Whether `component` is covered. `exact_case` false folds ASCII case, for paths as the caller wrote them.
    pub fn covers(&self, component: &str, exact_case: bool) -> bool {
        let equal = |left: &str, right: &str| {
            if exact_case {
                left == right
            } else {
                left.eq_ignore_ascii_case(right)
            }
        };
        let starts = |prefix: &str| {
            component
                .get(..prefix.len())
                .is_some_and(|head| equal(head, prefix))
        };
        match self {
            Self::Everything => true,
            Self::Exact(text) => equal(component, text),
            Self::Below(text) => {
                starts(text) && matches!(component.as_bytes().get(text.len()), None | Some(b'/'))
            }
            Self::Prefix(text) => starts(text),
        }
    }

    /// How specific it is: an exact one before every other, then the longer literal prefix.
    pub fn specificity(&self) -> (bool, usize) {
        match self {
            Self::Everything => (false, 0),
            Self::Exact(text) => (true, text.len()),
            // `_table/*` is longer than the prefix `_table*`, because it also names the slash.
            Self::Below(text) => (false, text.len() + 1),
            Self::Prefix(text) => (false, text.len()),
        }
    }

    /// Whether it is an exact one, which comes before every other.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Whether it begins with `_schema`, so that its row can grant changes of a schema.
    fn names_schema(&self) -> bool {
        match self {
            Self::Everything => false,
            Self::Exact(text) | Self::Below(text) | Self::Prefix(text) => text
                .get(..SCHEMA.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(SCHEMA)),
        }
    }

    /// How many segments of a path it names, the last one perhaps in part: 0 for everything and for the root, 2 for
    /// `_table/x` and `_table/x/*`, 3 for `_table/x/1`.
    fn named_segments(&self) -> usize {
        match self {
            Self::Everything => 0,
            Self::Exact(text) | Self::Below(text) | Self::Prefix(text) => text
                .split('/')
                .filter(|segment| !segment.is_empty())
                .count(),
        }
    }
}

/// As a role writes it: `*`, `_table/album`, `_table/album/*`, `_table/al*`; empty for the root.
impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("*"),
            Self::Exact(text) => formatter.write_str(text),
            Self::Below(text) => write!(formatter, "{text}/*"),
            Self::Prefix(text) => write!(formatter, "{text}*"),
        }
    }
}

/// One row of a role, compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Whether the row names the service; such rows come before those for `"*"`.
    pub names_service: bool,
    /// What it covers.
    pub pattern: Pattern,
    /// The verbs that it grants or denies.
    pub verbs: Verbs,
    /// Whether it denies.
    pub deny: bool,
    /// The rows it lets through; all without one.
    pub filter: Option<Arc<Filter>>,
    /// The columns it shows; all without one.
    pub fields: Option<Arc<BTreeSet<String>>>,
    /// Where it stands: `roles.toml:12`.
    pub position: Arc<str>,
}

/// The rules of a role for one service, the most specific first.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Rule]>);

impl Rules {
    /// Sorts the rules by how specific they are, and equally specific ones by what they say: the order in which a role
    /// lists its rows never matters.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut rules: Vec<Rule> = rules.into_iter().collect();
        rules.sort_by(|left, right| {
            (right.rank().cmp(&left.rank()))
                .then_with(|| left.pattern.cmp(&right.pattern))
                .then_with(|| left.verbs.mask().cmp(&right.verbs.mask()))
                .then_with(|| left.position.cmp(&right.position))
        });
        Self(rules.into())
    }

    /// Whether one of them grants anything at all.
    pub fn grant_anything(&self) -> bool {
        let mut rules = self.0.iter();
        rules.any(|rule| !rule.deny && !rule.verbs.is_empty())
    }
}

impl<R: IntoIterator<Item = Rule>> From<R> for Rules {
    fn from(rules: R) -> Self {
        Self::new(rules)
    }
}

impl Rule {
    /// Whether the rule grants all of these verbs on a component that it covers, if it decides.
    pub fn grants(&self, component: &str, verbs: Verbs) -> bool {
        !self.deny
            && self.verbs.contain(verbs)
            && (!changes_schema(component, verbs) || self.pattern.names_schema())
    }

    /// Which rule decides: one that names the service before one that does not, then the more specific one.
    pub fn rank(&self) -> (bool, (bool, usize)) {
        (self.names_service, self.pattern.specificity())
    }
}

/// Values of the names that filters may use: `{user.email}`, `{lookup.region}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lookups(std::collections::BTreeMap<String, String>);

impl Lookups {
    /// From names and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }
    /// The value of a name. None makes a role's filter deny.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What the caller may touch in this service.
#[derive(Clone, Debug, Default)]
pub struct Access {
    role: Arc<str>,
    service: Arc<str>,
    rules: Rules,
    lookups: Arc<Lookups>,
}

/// That a verb on a component is admitted, and under which conditions.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Only rows that satisfy it; all without one.
    pub filter: Option<Arc<Filter>>,
    /// Only these columns; all without one.
    pub fields: Option<Arc<BTreeSet<String>>>,
    /// The row that decided.
    pub position: Arc<str>,
    /// How many segments of the path that row names. Up to that many the path decides alone: two paths that agree in
    /// them, letter by letter, get the same grant.
    pub named_segments: usize,
}

impl Grant {
    /// What both admit: both filters hold, and a column must be in both lists.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        if Arc::ptr_eq(&self.position, &other.position) {
            return self;
        }
        let filter = match (&self.filter, &other.filter) {
            (Some(left), Some(right)) if !Arc::ptr_eq(left, right) => {
                Some(Arc::new(Filter::And(vec![
                    left.as_ref().clone(),
                    right.as_ref().clone(),
                ])))
            }
            (Some(filter), _) | (None, Some(filter)) => Some(Arc::clone(filter)),
            (None, None) => None,
        };
        let fields = match (&self.fields, &other.fields) {
            (Some(left), Some(right)) => {
                Some(Arc::new(left.intersection(right).cloned().collect()))
            }
            (Some(fields), None) | (None, Some(fields)) => Some(Arc::clone(fields)),
            (None, None) => None,
        };
        Self {
            filter,
            fields,
            position: self.position,
            named_segments: self.named_segments.max(other.named_segments),
        }
    }

    /// Whether a column may be read, written, filtered and ordered by.
    pub fn admits_field(&self, name: &str) -> bool {
        self.fields
            .as_ref()
            .is_none_or(|fields| fields.contains(name))
    }
}

/// What the rules say of verbs on a component. Each answer but the last names the row that decided; a row is known by
/// its very `Rule::position`, the same [`Arc`].
#[derive(Clone, Debug)]
pub enum Decision {
    /// A row grants it.
    Granted(Grant),
    /// A row with `deny = true` decided.
    Denied(Arc<str>),
    /// The most specific rows, this one among them, do not list the verb, or list it and cannot grant it: changes of a
    /// schema need a row whose component begins with [`SCHEMA`].
    NotListed(Arc<str>),
    /// No row covers the component.
    NoRow,
}

impl Decision {
    /// The row that decided.
    pub fn position(&self) -> Option<&Arc<str>> {
        match self {
            Self::Granted(grant) => Some(&grant.position),
            Self::Denied(position) | Self::NotListed(position) => Some(position),
            Self::NoRow => None,
        }
    }
}

impl Access {
    /// Access to `service` by the rules of `role` that concern it.
    pub fn new(
        role: impl Into<Arc<str>>,
        service: impl Into<Arc<str>>,
        rules: impl Into<Rules>,
        lookups: Arc<Lookups>,
    ) -> Self {
        Self {
            role: role.into(),
            service: service.into(),
            rules: rules.into(),
            lookups,
        }
    }

    /// The same access for the values of another caller.
    #[must_use]
    pub fn with_lookups(&self, lookups: Arc<Lookups>) -> Self {
        Self {
            lookups,
            ..self.clone()
        }
    }

    /// The values that filters may use.
    pub fn lookups(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// The service this is about.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Two accesses with equal identities decide alike but for their lookups; good as a cache key while either
    /// is held.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.rules.0).cast::<()>() as usize
    }

    /// The most specific matching rules decide; rules of equal specificity are united; `deny` wins among equals.
    ///
    /// `component` is canonical here (a table's own name), so a rule must have its case to grant anything. Rules that
    /// differ from it in case still restrict, as they do for a path: what a role denies or narrows under a misspelt
    /// name is not open to a call that reaches the table another way.
    pub fn decide(&self, component: &str, verbs: Verbs) -> Decision {
        let exact = self.decide_as(component, verbs, true);
        let Decision::Granted(grant) = exact else {
            return exact;
        };
        match self.decide_as(component, verbs, false) {
            Decision::Granted(folded) => Decision::Granted(grant.and(&folded)),
            refused => refused,
        }
    }

    fn decide_as(&self, component: &str, verbs: Verbs, exact_case: bool) -> Decision {
        let mut rank = None;
        let mut first: Option<&Rule> = None;
        let mut granting: Option<&Rule> = None;
        for rule in self.rules.0.iter() {
            if rank.is_some_and(|rank| rank != rule.rank()) {
                break;
            }
            if !rule.pattern.covers(component, exact_case)
                || (rule.deny && !rule.verbs.overlap(verbs))
            {
                continue;
            }
            if rule.deny {
                return Decision::Denied(Arc::clone(&rule.position));
            }
            rank = Some(rule.rank());
            first = first.or(Some(rule));
            // The manifest refuses rows of equal specificity that grant the same verb with different conditions. Rows
            // that differ in nothing but case may do so: the one in the case at hand is meant.
            let is_better = |known: &Rule| {
                !known.pattern.covers(component, true) && rule.pattern.covers(component, true)
            };
            if rule.grants(component, verbs) && granting.is_none_or(is_better) {
                granting = Some(rule);
            }
        }
        match (granting, first) {
            (Some(rule), _) => Decision::Granted(Grant {
                filter: rule.filter.clone(),
                fields: rule.fields.clone(),
                position: Arc::clone(&rule.position),
                named_segments: rule.pattern.named_segments(),
            }),
            (None, Some(rule)) => Decision::NotListed(Arc::clone(&rule.position)),
            (None, None) => Decision::NoRow,
        }
    }

    /// The same for a path as the caller wrote it: ASCII case does not count.
    pub fn decide_path(&self, component: &str, verbs: Verbs) -> Decision {
        self.decide_as(component, verbs, false)
    }

    /// The grant for a method on a component (a canonical name, such as `_table/album`), or 403.
    pub fn of(&self, component: &str, method: &Method) -> Result<Grant> {
        let decision = self.decide(component, Verbs::of(method));
        self.granted(decision, component, method)
    }

    /// The same for a path as the caller wrote it: ASCII case does not count.
    pub fn of_path(&self, component: &str, method: &Method) -> Result<Grant> {
        let decision = self.decide_path(component, Verbs::of(method));
        self.granted(decision, component, method)
    }

    fn granted(&self, decision: Decision, component: &str, method: &Method) -> Result<Grant> {
        match decision {
            Decision::Granted(grant) => Ok(grant),
            Decision::Denied(position) | Decision::NotListed(position) => {
                Err(self.refusal(Some(&position), component, method))
            }
            Decision::NoRow => Err(self.refusal(None, component, method)),
        }
    }

    /// The 403 for what the rules do not grant. `position` is the row that decided, for the log.
    pub fn refusal(&self, position: Option<&Arc<str>>, component: &str, method: &Method) -> Error {
        let place = match component {
            "" => "the root".to_owned(),
            _ => format!("component '{}'", brief(component)),
        };
        let error = Error::new(
            ErrorKind::Forbidden,
            format!(
                "{method} access to {place} of service '{}' is not allowed by this role",
                brief(&self.service)
            ),
        )
        .with_fact("role", self.role.as_ref());
        let error = if changes_schema(component, Verbs::of(method)) {
            error.with_help(
                "tables are changed by roles with a row for it: a component that begins with `_schema`, and the verb",
            )
        } else {
            error
        };
        match position {
            Some(position) => error.with_fact(RULE_FACT, position.as_ref()),
            None => error,
        }
    }

    /// The verbs granted on a component, for listings and documentation.
    pub fn verbs(&self, component: &str) -> Verbs {
        [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ]
        .iter()
        .map(Verbs::of)
        .filter(|verb| matches!(self.decide(component, *verb), Decision::Granted(_)))
        .fold(Verbs::NONE, Verbs::union)
    }

    /// Whether no rule grants anything at all.
    pub fn is_empty(&self) -> bool {
        !self.rules.grant_anything()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(names_service: bool, pattern: &str, verbs: &[Method], deny: bool) -> Rule {
        Rule {
            names_service,
            pattern: Pattern::parse(pattern).unwrap(),
            verbs: verbs.iter().map(Verbs::of).fold(Verbs::NONE, Verbs::union),
            deny,
            filter: None,
            fields: None,
            position: Arc::from(pattern),
        }
    }

    fn access(rules: Vec<Rule>) -> Access {
        Access::new("r", "s", rules, Arc::default())
    }

    #[test]
    fn components_are_matched_as_the_reference_says() {
        let covers = |pattern: &str, component: &str| {
            Pattern::parse(pattern).unwrap().covers(component, true)
        };
        for (pattern, component, expected) in [
            ("", "", true),
            ("", "_table", false),
            ("*", "", true),
            ("*", "_table/a/1", true),
            ("_table/*", "_table", true),
            ("_table/*", "_tables", false),
            ("_table/*", "", false),
            ("_table/album", "_table/album", true),
            ("_table/album", "_table/album/1", false),
            ("_table/album/", "_table/album", true),
            ("_table/album/*", "_table/album", true),
            ("_table/album/*", "_table/album/1", true),
            ("_table/album/*", "_table/albums", false),
            ("_table/al*", "_table/album/1", true),
        ] {
            assert_eq!(
                covers(pattern, component),
                expected,
                "{pattern} on {component}"
            );
        }
        assert!(Pattern::parse("_table/*/x").is_err());
    }

    #[test]
    fn the_most_specific_rule_decides_and_deny_wins_among_equals() {
        let access = access(vec![
            rule(true, "*", &[Method::GET, Method::POST], false),
            rule(true, "_table/a/*", &[Method::GET], false),
            rule(true, "_table/b", &[Method::POST], true),
            rule(true, "_table/b", &[Method::GET, Method::POST], false),
            rule(false, "_table/c", &[Method::DELETE], false),
        ]);
        let granted = |component: &str, method: Method| access.of(component, &method).is_ok();
        assert!(granted("_table/x", Method::POST));
        assert!(granted("_table/a/1", Method::GET));
        assert!(
            !granted("_table/a/1", Method::POST),
            "the more specific rule replaces the general one"
        );
        assert!(granted("_table/b", Method::GET));
        assert!(!granted("_table/b", Method::POST));
        assert!(
            !granted("_table/c", Method::DELETE),
            "a row that names the service comes first"
        );
    }

    #[test]
    fn a_schema_is_changed_by_rows_that_begin_with_its_name_alone() {
        let changing = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let all = [vec![Method::GET], changing.to_vec()].concat();
        for (pattern, may_change) in [
            ("*", false),
            ("_*", false),
            ("_schem*", false),
            ("_schema*", true),
            ("_schema/*", true),
            ("_SCHEMA/*", false),
            ("_schema/a", true),
            ("_schema/a/*", true),
            ("_schema/b", false),
        ] {
            let access = access(vec![rule(true, pattern, &all, false)]);
            for method in &changing {
                assert_eq!(
                    access.of("_schema/a", method).is_ok(),
                    may_change,
                    "{pattern} {method}"
                );
                assert_eq!(
                    access.of_path("_Schema/a", method).is_ok(),
                    may_change || pattern == "_SCHEMA/*",
                    "{pattern} {method}"
                );
            }
        }
        let everything = access(vec![rule(true, "*", &all, false)]);
        for component in ["_schema", "_schema/a", "_schema/a/_field/b"] {
            assert_eq!(everything.verbs(component), Verbs::of(&Method::GET));
        }
        for component in ["_schemas", "_schema2/a", "_table/_schema"] {
            assert_eq!(everything.verbs(component), Verbs::ALL, "{component}");
        }
        let refused = everything.of("_schema/a", &Method::POST).unwrap_err();
        assert!(refused.help().unwrap().contains("`_schema`"));
    }

    #[test]
    fn a_deny_concerns_only_the_verbs_it_lists() {
        let access = access(vec![
            rule(true, "_table/*", &[Method::GET, Method::DELETE], false),
            rule(true, "_table/a/*", &[Method::DELETE], true),
        ]);
        assert!(access.of("_table/a/1", &Method::GET).is_ok());
        assert!(access.of("_table/a/1", &Method::DELETE).is_err());
        assert!(access.of("_table/b/1", &Method::DELETE).is_ok());
    }

    #[test]
    fn a_refusal_names_the_place() {
        let access = access(vec![]);
        let words = |component| {
            let refused = access.of(component, &Method::GET).unwrap_err();
            refused.message().to_owned()
        };
        assert!(words("").starts_with("GET access to the root of service "));
        assert!(words("_schema").starts_with("GET access to component '_schema' of service "));
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(access(vec![]).of("", &Method::GET).is_err());
        assert!(
            access(vec![rule(true, "*", &[Method::GET], false)])
                .of("", &Method::TRACE)
                .is_err()
        );
    }

    #[test]
    fn a_row_in_another_case_grants_nothing_but_restricts() {
        let narrow = Rule {
            fields: Some(Arc::new(BTreeSet::from(["id".to_owned()]))),
            ..rule(true, "_table/Note/*", &[Method::GET], false)
        };
        let access = access(vec![
            rule(true, "_table/*", &[Method::GET], false),
            rule(true, "_table/Vault/*", &[Method::GET], true),
            narrow,
            rule(true, "_schema/Note", &[Method::GET], false),
        ]);
        assert!(access.of("_table/vault/1", &Method::GET).is_err());
        assert!(access.verbs("_table/vault").is_empty());
        let note = access.of("_table/note", &Method::GET).unwrap();
        assert!(note.admits_field("id") && !note.admits_field("body"));
        assert!(access.of("_schema/note", &Method::GET).is_err());
        assert!(access.of_path("_schema/note", &Method::GET).is_ok());
    }

    #[test]
    fn names_that_differ_in_case_alone_have_their_own_rows() {
        let fields = |name: &str| Some(Arc::new(BTreeSet::from([name.to_owned()])));
        let of = |pattern: &str, field: &str| Rule {
            fields: fields(field),
            ..rule(true, pattern, &[Method::GET], false)
        };
        for rules in [
            ["_table/Note", "_table/note"],
            ["_table/note", "_table/Note"],
        ] {
            let access = access(rules.iter().map(|name| of(name, name)).collect());
            for name in rules {
                let grant = access.of(name, &Method::GET).unwrap();
                assert_eq!(grant.fields, fields(name));
                let grant = access.of_path(name, &Method::GET).unwrap();
                assert_eq!(grant.fields, fields(name));
            }
        }
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        const COMPONENTS: [&str; 12] = [
            "",
            "_table",
            "_table/ab",
            "_table/aB",
            "_table/ab/1",
            "_table/ab/1x",
            "_table/abc",
            "_schema",
            "_schema/ab",
            "_Schema/ab",
            "_schema2/ab",
            "_table/b%2F1",
        ];

        fn rules() -> impl Strategy<Value = Vec<Rule>> {
            let pattern = prop::sample::select(vec![
                "",
                "*",
                "_table/*",
                "_table/a*",
                "_table/ab",
                "_table/ab/*",
                "_table/AB/*",
                "_table/aB",
                "_table/ab/1",
                "_table/ab/1*",
                "_schema/*",
                "_schema/ab",
                "_s*",
                "_table/b/*",
            ]);
            let one = (any::<bool>(), pattern, 1_u8..32, prop::bool::weighted(0.3)).prop_map(
                |(names_service, pattern, verbs, deny)| Rule {
                    names_service,
                    pattern: Pattern::parse(pattern).unwrap(),
                    verbs: Verbs(verbs),
                    deny,
                    filter: None,
                    // As in a manifest, rows that are alike grant on equal conditions.
                    fields: (!deny && pattern.len() % 2 == 0)
                        .then(|| Arc::new(BTreeSet::from([pattern.to_owned(), "id".to_owned()]))),
                    position: Arc::from(pattern),
                },
            );
            prop::collection::vec(one, 0..8)
        }

        /// What is granted on each component for each verb, by name and by path: the columns, all of them as `*`.
        fn granted(rules: &[Rule]) -> Vec<Option<BTreeSet<String>>> {
            let access = access(rules.to_vec());
            let columns = |grant: Grant| match grant.fields {
                Some(fields) => fields.as_ref().clone(),
                None => BTreeSet::from(["*".to_owned()]),
            };
            let mut all = Vec::new();
            for component in COMPONENTS {
                for verb in Verbs::NAMES {
                    let method: Method = verb.parse().unwrap();
                    all.push(access.of(component, &method).ok().map(columns));
                    all.push(access.of_path(component, &method).ok().map(columns));
                }
            }
            all
        }

        proptest! {
            #[test]
            fn another_deny_row_never_widens(rules in rules(), deny in rules(), at in any::<prop::sample::Index>()) {
                let before = granted(&rules);
                let mut more = rules;
                for mut rule in deny {
                    rule.deny = true;
                    rule.fields = None;
                    more.insert(at.index(more.len() + 1), rule);
                }
                for (before, after) in before.into_iter().zip(granted(&more)) {
                    prop_assert!(after.is_none() || after == before);
                }
            }

            #[test]
            fn without_rows_for_the_schema_nobody_changes_it(rules in rules()) {
                let others: Vec<Rule> = rules.into_iter().filter(|rule| !rule.pattern.names_schema()).collect();
                let access = access(others);
                for component in ["_schema", "_schema/ab", "_Schema/ab", "_schema/ab/_field/c"] {
                    prop_assert!(Verbs::of(&Method::GET).union(access.verbs(component)) == Verbs::of(&Method::GET));
                    for verb in ["POST", "PUT", "PATCH", "DELETE"] {
                        prop_assert!(access.of_path(component, &verb.parse().unwrap()).is_err());
                    }
                }
            }

            #[test]
            fn the_order_of_rows_never_matters(
                (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle()))
            ) {
                prop_assert_eq!(granted(&rules), granted(&shuffled));
            }

            #[test]
            fn a_name_never_gets_more_than_the_path_that_spells_it(rules in rules()) {
                for pair in granted(&rules).chunks(2) {
                    let [by_name, by_path] = pair else { panic!() };
                    prop_assert!(by_name.is_none() || by_path.is_some());
                }
            }
        }
    }
}
