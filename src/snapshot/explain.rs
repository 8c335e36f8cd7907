//! What a request with a key would come to on a tree that nobody serves, and why. The decision is that of
//! [`crate::auth::authorize`], which requests hear as well; here are only the words for it. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use serde::Serialize;

use super::assemble::application;
use crate::auth::application::Application;
use crate::auth::authorize::{Admission, ServiceFacts, authorize, page};
use crate::auth::identify::rejected;
use crate::auth::reason::{Reason, Refusal};
use crate::auth::role::{CompiledRow, Requester, Role};
use crate::auth::route::{Question, Target};
use crate::connector::access::{Access, Grant, Rule, SCHEMA, Verbs, changes_schema};
use crate::connector::operation;
use crate::error::{Error, nearest};
use crate::manifest::{Configs, KeyTable, Located, ManifestSet, Position};
use crate::names::{KeyName, RoleName, ServiceName};

/// One request with a key, on a tree.
pub struct Case<'a> {
    set: &'a ManifestSet,
    configs: &'a Configs,
    key: &'a KeyName,
    table: &'a Located<KeyTable>,
    question: &'a Question,
    at: Option<DateTime<Utc>>,
    application: Arc<Application>,
}

/// What a case comes to.
#[derive(Debug)]
pub struct Verdict {
    /// Why it is allowed or denied.
    pub reason: Reason,
    /// The row that decided, if it was a row: its very `Rule::position`.
    pub rule: Option<Arc<str>>,
    grant: Option<Grant>,
    error: Option<Error>,
}

impl From<Result<Admission, Refusal>> for Verdict {
    fn from(outcome: Result<Admission, Refusal>) -> Self {
        match outcome {
            Ok(admission) => Self {
                reason: admission.reason(),
                rule: admission.rule().map(Arc::clone),
                grant: match &admission {
                    Admission::Call(call) => Some(call.grant().clone()),
                    Admission::Page
                    | Admission::Services
                    | Admission::ApiDocs(_)
                    | Admission::Options(_) => None,
                },
                error: None,
            },
            Err(refusal) => Self {
                reason: refusal.reason,
                rule: refusal.rule,
                grant: None,
                error: Some(refusal.error),
            },
        }
    }
}

impl<'a> Case<'a> {
    /// A request with the key of this name; none if the tree has no such key. `at` says when it comes; without it the
    /// time does not count.
    pub fn new(
        set: &'a ManifestSet,
        configs: &'a Configs,
        key: &str,
        question: &'a Question,
        at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        let application = Arc::new(application(set, key)?);
        Self::of(set, configs, application, question, at)
    }

    /// The same for an application of the tree, which many requests can share.
    pub fn of(
        set: &'a ManifestSet,
        configs: &'a Configs,
        application: Arc<Application>,
        question: &'a Question,
        at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        let (key, table) = set.keys.get_key_value(&application.key.name)?;
        Some(Self {
            set,
            configs,
            key,
            table,
            question,
            at,
            application,
        })
    }

    /// Decides, in the order of the pipeline.
    pub fn verdict(&self) -> Verdict {
        self.decide().into()
    }

    fn decide(&self) -> Result<Admission, Refusal> {
        let method = &self.question.method;
        if let Target::Root | Target::Docs(_) = self.question.target {
            return page(method).map(|()| Admission::Page);
        }
        let key = &self.application.key;
        let checked = match self.at {
            Some(at) => key.check(|| at),
            None => key.check_at_any_time(),
        };
        checked.map_err(rejected)?;
        let target = self.question.target.clone();
        authorize(&self.application, target, method, |name| self.facts(name))
    }

    fn facts(&self, service: &str) -> Option<ServiceFacts<'_>> {
        let (name, located) = self.set.services.get_key_value(service)?;
        Some(ServiceFacts {
            name,
            is_active: located.value.active,
            operations: self.configs.services.get(service)?.operations(),
        })
    }

    /// The role of the key.
    pub fn role(&self) -> Option<(&'a RoleName, &'a Located<Role>)> {
        let name = self.table.value.role.as_ref()?;
        let role = self.set.roles.get_key_value(name);
        role.map(|(name, role)| (name, role.as_ref()))
    }

    /// The row that a verdict names.
    pub fn row(&self, position: &Arc<str>) -> Option<&'a CompiledRow> {
        let (_, role) = self.role()?;
        let mut rows = role.value.rows.iter();
        rows.find(|row| Arc::ptr_eq(&row.rule.position, position))
    }

    /// The verb that a role must grant.
    pub(super) fn verb(&self) -> &'static str {
        verb(&self.question.method)
    }

    /// The rows that concern calls to the service that is asked.
    fn rows_of_service(&self) -> impl Iterator<Item = &'a CompiledRow> {
        let service = self.question.service().unwrap_or_default();
        let role = self.role().filter(|(_, role)| role.value.active);
        role.into_iter()
            .flat_map(|(_, role)| &role.value.rows)
            .filter(move |row| row.service_text() == "*" || row.service_text() == service)
    }

    /// Why it came so, in one sentence without a full stop.
    pub fn because(&self, verdict: &Verdict) -> String {
        let service = self.question.service().unwrap_or_default();
        let role = self.table.value.role.as_ref().map_or("", RoleName::as_str);
        let key = self.key;
        let verb = self.verb();
        let row = || verdict.rule.as_ref().and_then(|rule| self.row(rule));
        let of_row = || row().map(described).unwrap_or_default();
        match verdict.reason {
            Reason::Granted => format!("{} grants {verb}", of_row()),
            Reason::DeniedByRow => format!("{} denies {verb}", of_row()),
            Reason::VerbNotGranted => match row() {
                Some(row) => self.silent_rows(row),
                None => String::new(),
            },
            Reason::NoRow => format!(
                "no row of the role `{role}` grants anything on {} of `{service}`",
                self.place()
            ),
            Reason::SomeAccess if self.question.method == Method::OPTIONS => {
                format!(
                    "the role `{role}` may do something in `{service}`, so it may ask what a path takes"
                )
            }
            Reason::SomeAccess => format!(
                "the role `{role}` may do something in `{service}`; its documentation says just that"
            ),
            Reason::NoAccess => format!("the role `{role}` may do nothing in `{service}`"),
            Reason::AnyKey => {
                "every accepted key may ask; the answer holds what its role may see".to_owned()
            }
            Reason::Public => "this page needs no key".to_owned(),
            Reason::InactiveKey => format!("the key `{key}` is not active"),
            Reason::KeyNotYetValid => format!(
                "the key `{key}` is refused before {}",
                moment(self.application.key.not_before)
            ),
            Reason::ExpiredKey => format!(
                "the key `{key}` is refused from {} on",
                moment(self.application.key.expires)
            ),
            Reason::NoRole => format!("the key `{key}` has no role"),
            Reason::InactiveRole => format!("the role `{role}` is not active"),
            Reason::ServiceDeactivated => format!("the service `{service}` is not active"),
            Reason::UnknownService => format!("there is no service `{service}`"),
            Reason::UnknownResource => {
                format!("the service `{service}` has nothing at {}", self.place())
            }
            Reason::MethodNotAllowed => {
                let allow = verdict.error.as_ref().and_then(Error::allow);
                format!(
                    "{} is not taken there, only {}",
                    self.question.method,
                    allow.unwrap_or_default()
                )
            }
            // These are about how a request carries its key, which no question says.
            Reason::NoKey
            | Reason::ConflictingKeys
            | Reason::OtherCredentials
            | Reason::UnknownKey
            | Reason::KeyInQuery
            | Reason::RefusedInside => verdict.reason.name().to_owned(),
        }
    }

    /// The component, for a sentence.
    fn place(&self) -> String {
        let component = self.question.component();
        match component.map_or("", operation::Component::as_str) {
            "" => "the root".to_owned(),
            component => format!("`{component}`"),
        }
    }

    /// That the most specific rows do not list the verb.
    fn silent_rows(&self, first: &CompiledRow) -> String {
        let verb = self.verb();
        let component = &*self.component();
        if self.changes_schema() {
            return format!(
                "no row whose component begins with `{SCHEMA}` lists {verb}, and no other row grants a change of the schema"
            );
        }
        let others: Vec<String> = self
            .rows_of_service()
            .filter(|row| row.requesters.contains(&Requester::Api))
            .filter(|row| row.rule.rank() == first.rule.rank() && !row.rule.deny)
            .filter(|row| row.rule.pattern.covers(component, false))
            .map(described)
            .collect();
        if others.len() > 1 {
            let rows = others.join(" and ");
            return format!("the most specific rows do not list {verb}: {rows}");
        }
        format!(
            "the most specific row for it does not list {verb}: {}",
            described(first)
        )
    }

    /// Whether the call is a change of a schema, which some rows cannot grant.
    pub(super) fn changes_schema(&self) -> bool {
        changes_schema(&self.component(), Verbs::of(&self.question.method))
    }

    /// What rows are matched against.
    fn component(&self) -> Cow<'a, str> {
        let Some(component) = self.question.component() else {
            return Cow::Borrowed("");
        };
        let service = self.question.service().unwrap_or_default();
        match self.configs.services.get(service) {
            Some(config) => operation::judged(config.operations(), component),
            None => Cow::Borrowed(component.as_str()),
        }
    }

    /// Everything that led to the verdict.
    pub fn explain(&self) -> Explanation {
        let verdict = self.verdict();
        let set = self.set;
        let service = self
            .question
            .service()
            .and_then(|name| set.services.get_key_value(name));
        Explanation {
            decision: verdict.reason.decision(),
            reason: verdict.reason.name(),
            because: self.because(&verdict),
            rule: verdict.rule.as_ref().map(ToString::to_string),
            answer: verdict.error.as_ref().map(|error| AnswerFacts {
                status: error.kind().status().as_u16(),
                kind: error.kind().name(),
                message: error.message().to_owned(),
            }),
            request: RequestFacts {
                method: self.question.sent().to_string(),
                path: self.question.path().to_owned(),
                judged_as: self.verb(),
                component: self
                    .question
                    .component()
                    .map(|component| component.as_str().to_owned()),
            },
            at: self.at.map(|at| moment(Some(at))),
            key: KeyFacts {
                name: self.key.clone(),
                position: self.table.position.line(),
                active: self.table.value.active,
                not_before: self.table.value.not_before.map(|at| moment(Some(at.utc()))),
                expires: self.table.value.expires.map(|at| moment(Some(at.utc()))),
            },
            role: self.role().map(|(name, role)| RoleFacts {
                name: name.clone(),
                position: role.position.line(),
                active: role.value.active,
                chosen_by: "key",
                chosen_at: set.role_position(self.key.as_str()).map(Position::line),
            }),
            service: service.map(|(name, service)| NamedService {
                name: name.clone(),
                position: service.position.line(),
                kind: service.value.service_type.name,
                active: service.value.active,
            }),
            operation: self.operation(),
            rows: self.rows(&verdict),
            grant: verdict.grant.as_ref().map(|grant| self.grant_facts(grant)),
            notes: self.notes(&verdict),
        }
    }

    fn operation(&self) -> Option<OperationFacts> {
        let service = self.question.service()?;
        let operations = self.facts(service)?.operations;
        let component = self.question.component()?;
        let method = &self.question.method;
        let (found, _) = operation::find(operations, service, method, component).ok()?;
        Some(OperationFacts {
            name: found.name,
            method: found.method.to_string(),
            path: found.path,
        })
    }

    /// The rows that had a part in the decision, the most specific first; where none covers the component, all rows that
    /// concern the service.
    fn rows(&self, verdict: &Verdict) -> Vec<RowFacts> {
        let Some(service) = self.question.service() else {
            return Vec::new();
        };
        let Ok(access) = self.application.access_by_name(service) else {
            return Vec::new();
        };
        let is_call =
            self.question.component().is_some() && self.question.method != Method::OPTIONS;
        let component = &*self.component();
        let verbs = Verbs::of(&self.question.method);
        let decision = access.decide_path(component, verbs);
        let decider = decision
            .position()
            .and_then(|rule| self.row(rule))
            .filter(|_| is_call);
        let mut rows: Vec<(&CompiledRow, Part)> = self
            .rows_of_service()
            .filter_map(|row| {
                let part = if !is_call {
                    (!row.rule.deny && row.requesters.contains(&Requester::Api))
                        .then_some(Part::GivesAccess)?
                } else if row.rule.pattern.covers(component, false) {
                    match part(row, decider, component, verbs) {
                        // Something else decided before the row was asked, or after it.
                        Part::Decides if verdict.rule.is_none() => Part::WouldDecide,
                        part => part,
                    }
                } else if decider.is_none() {
                    Part::OtherComponent
                } else {
                    return None;
                };
                Some((row, part))
            })
            .collect();
        rows.sort_by(|(left, left_part), (right, right_part)| {
            (left_part.is_bystander().cmp(&right_part.is_bystander()))
                .then_with(|| right.rule.rank().cmp(&left.rule.rank()))
                .then_with(|| left_part.comes_late().cmp(&right_part.comes_late()))
        });
        let company = Company {
            is_alone: rows.iter().filter(|(_, part)| !part.is_bystander()).count() == 1,
            is_overruled: rows.iter().any(|(_, part)| *part == Part::Overruled),
        };
        rows.into_iter()
            .map(|(row, part)| RowFacts {
                position: row.rule.position.to_string(),
                service: row.service_text().to_owned(),
                component: row.rule.pattern.to_string(),
                verbs: row.rule.verbs.names().collect(),
                deny: row.rule.deny,
                filter: row.filter_text().map(str::to_owned),
                fields: row.rule.fields.as_deref().cloned(),
                part: part.name(),
                why: self.why(row, part, decider, company),
            })
            .collect()
    }

    /// Why a row had its part.
    fn why(
        &self,
        row: &CompiledRow,
        part: Part,
        decider: Option<&CompiledRow>,
        company: Company,
    ) -> String {
        let verb = self.verb();
        let sentence = match part {
            Part::Decides | Part::WouldDecide => {
                let rule = &row.rule;
                let why = match (
                    company.is_alone,
                    rule.names_service,
                    rule.pattern.is_exact(),
                ) {
                    (true, _, _) => "no other row covers it",
                    (false, true, true) => "it names the service, and just this component",
                    (false, true, false) => "of those that name the service, the longest component",
                    (false, false, true) => {
                        "no row names the service; it names just this component"
                    }
                    (false, false, false) => "no row names the service; the longest component",
                };
                let verbs = Verbs::of(&self.question.method);
                let deed = match (part, rule.deny, rule.grants(&self.component(), verbs)) {
                    (Part::WouldDecide, true, _) => "would deny",
                    (Part::WouldDecide, false, true) => "would grant",
                    (_, true, _) => "denies",
                    (_, false, true) => "grants",
                    (_, false, false) if rule.verbs.contain(verbs) => {
                        "does not begin with `_schema`, so it does not grant"
                    }
                    (_, false, false) => "does not list",
                };
                let deny_wins = if company.is_overruled {
                    "; deny wins among equals"
                } else {
                    ""
                };
                return format!("{deed} {verb}; {why}{deny_wins}");
            }
            Part::Agrees => "as specific, and says the same",
            Part::Overruled => "as specific, but deny wins",
            Part::Silent => return format!("as specific, and does not list {verb} either"),
            Part::LacksVerb => return format!("as specific, but does not list {verb}"),
            Part::OtherVerbs => "denies other verbs only",
            Part::LessSpecific => {
                let decider = decider.map(|decider| &decider.rule);
                match decider {
                    Some(decider) if decider.names_service && !row.rule.names_service => {
                        "less specific: does not name the service"
                    }
                    Some(decider) if decider.pattern.is_exact() && !row.rule.pattern.is_exact() => {
                        "less specific: does not name just this component"
                    }
                    _ => "less specific: a shorter component",
                }
            }
            Part::Scripts => "concerns calls of scripts only",
            Part::OtherComponent => "covers another component",
            Part::GivesAccess => "gives access to the service",
        };
        sentence.to_owned()
    }

    fn grant_facts(&self, grant: &Grant) -> GrantFacts {
        let service = self.question.service().unwrap_or_default();
        let access = self.application.access_by_name(service).ok();
        let value = |name: &str| {
            let lookups = access.as_ref().map(Access::lookups)?;
            lookups.get(name).map(str::to_owned)
        };
        let row = self.row(&grant.position);
        GrantFacts {
            filter: row.and_then(CompiledRow::filter_text).map(str::to_owned),
            lookups: grant
                .filter
                .iter()
                .flat_map(|filter| filter.lookups())
                .map(|name| (name.to_owned(), value(name)))
                .collect(),
            fields: grant.fields.as_deref().cloned(),
        }
    }

    /// What a reader should know beside the decision.
    fn notes(&self, verdict: &Verdict) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |text: String| notes.push(text);
        let sent = self.question.sent();
        let meant = &self.question.method;
        if sent != meant {
            note(format!(
                "the {sent} carries {meant} in its option `method` and is judged as that"
            ));
        } else if *sent == Method::HEAD {
            note("HEAD is judged as GET".to_owned());
        } else if *sent == Method::OPTIONS {
            note(
                "OPTIONS needs no verb: whoever may do something in the service may ask what a path takes"
                    .to_owned(),
            );
        } else if *sent == Method::POST && self.question.component().is_some() {
            note(
                "a POST that carries another method in X-HTTP-Method is judged as that method"
                    .to_owned(),
            );
        }
        if verdict.reason == Reason::Granted && !matches!(*meant, Method::GET | Method::HEAD) {
            note(
                "the service may still refuse a write by itself: a database that is read only takes none"
                    .to_owned(),
            );
        }
        if let Some(name) = self.question.service()
            && !self.set.services.contains_key(name)
        {
            let known = self.set.services.keys().map(ServiceName::as_str);
            match nearest(name, known) {
                Some(near) => note(format!(
                    "there is no service `{name}`; did you mean `{near}`?"
                )),
                None if verdict.reason != Reason::UnknownService => {
                    note(format!("there is no service `{name}`"));
                }
                None => {}
            }
        }
        if let Some(grant) = &verdict.grant {
            for (name, value) in self.grant_facts(grant).lookups {
                if value.is_none() {
                    note(format!(
                        "`{{{name}}}` has no value for this key, so the filter lets no record through"
                    ));
                }
            }
            let row = self.row(&grant.position);
            if row.is_some_and(|row| !row.rule.pattern.covers(&self.component(), true)) {
                note(
                    "the row covers the path but for its case; it grants nothing unless it has the case of the table's own name"
                        .to_owned(),
                );
            }
            let calls_routine = self
                .operation()
                .is_some_and(|operation| operation.path.ends_with("()}"));
            if calls_routine && (grant.filter.is_some() || grant.fields.is_some()) {
                note(
                    "a row with `filter` or `fields` calls no procedure and no function, because none can be held to it"
                        .to_owned(),
                );
            }
            note(
                "what a call touches beyond its path (related tables, tables named in a body) is judged by its own rows when the call runs"
                    .to_owned(),
            );
        }
        notes
    }
}

/// What else there is beside the row that decides.
#[derive(Clone, Copy)]
struct Company {
    /// No other row could have decided.
    is_alone: bool,
    /// An equally specific row grants what the row that decides denies.
    is_overruled: bool,
}

/// The part that a row had in a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It is the row that decided.
    Decides,
    /// It would be, but something other than a row decided.
    WouldDecide,
    /// As specific, and of the same mind.
    Agrees,
    /// As specific, but a deny row decided.
    Overruled,
    /// As specific as the row that decided by not listing the verb, and does not list it either.
    Silent,
    /// As specific as a row that grants, but does not list the verb.
    LacksVerb,
    /// A deny row for other verbs.
    OtherVerbs,
    /// Another row is more specific.
    LessSpecific,
    /// Not for calls from outside.
    Scripts,
    /// Does not cover the component.
    OtherComponent,
    /// Makes the service visible, which was all that was asked.
    GivesAccess,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Decides => "decides",
            Self::WouldDecide => "would_decide",
            Self::Agrees => "agrees",
            Self::Overruled => "overruled",
            Self::Silent | Self::LacksVerb => "lacks_verb",
            Self::OtherVerbs => "other_verbs",
            Self::LessSpecific => "less_specific",
            Self::Scripts => "scripts_only",
            Self::OtherComponent => "other_component",
            Self::GivesAccess => "gives_access",
        }
    }

    /// Whether a row that decides is listed before it, among rows of equal rank.
    const fn comes_late(self) -> bool {
        !matches!(self, Self::Decides | Self::WouldDecide)
    }

    /// Whether the decision would be looked for among the other rows.
    const fn is_bystander(self) -> bool {
        matches!(
            self,
            Self::OtherVerbs | Self::Scripts | Self::OtherComponent
        )
    }
}

/// The part of a row that covers the component. `decider` is there if a row for calls from outside covers it.
fn part(row: &CompiledRow, decider: Option<&CompiledRow>, component: &str, verbs: Verbs) -> Part {
    let rule = &row.rule;
    if !row.requesters.contains(&Requester::Api) {
        return Part::Scripts;
    }
    if rule.deny && !rule.verbs.overlap(verbs) {
        return Part::OtherVerbs;
    }
    let Some(decider) = decider.map(|decider| &decider.rule) else {
        return Part::LessSpecific;
    };
    if Arc::ptr_eq(&rule.position, &decider.position) {
        return Part::Decides;
    }
    if rule.rank() != decider.rank() {
        return Part::LessSpecific;
    }
    let grants = |rule: &Rule| rule.grants(component, verbs);
    match (decider.deny, grants(decider)) {
        (true, _) if rule.deny => Part::Agrees,
        (true, _) if grants(rule) => Part::Overruled,
        (false, true) if grants(rule) => Part::Agrees,
        (true, _) | (false, true) => Part::LacksVerb,
        (false, false) => Part::Silent,
    }
}

/// A row, for a sentence: the row at roles.toml:12 (`_table/*` of `chinook`).
pub(super) fn described(row: &CompiledRow) -> String {
    format!("the row at {} ({})", row.rule.position, covered(row))
}

/// What a row covers: `` `_table/*` of `chinook` ``.
pub(super) fn covered(row: &CompiledRow) -> String {
    let component = row.rule.pattern.to_string();
    let component = match component.as_str() {
        "" => "the root".to_owned(),
        component => format!("`{component}`"),
    };
    match row.service_text() {
        "*" => format!("{component} of every service"),
        service => format!("{component} of `{service}`"),
    }
}

/// The verb that a role must grant for a method.
fn verb(method: &Method) -> &'static str {
    let mut names = Verbs::of(method).names();
    names.next().unwrap_or("OPTIONS")
}

/// A moment as people write it; nothing without one.
fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}

/// Everything that led to a decision. Positions are written as in the audit line: `roles.toml:12`.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `allowed` or `denied`.
    pub decision: &'static str,
    /// The word for why, as in the audit line.
    pub reason: &'static str,
    /// Why, in one sentence.
    pub because: String,
    /// The row that decided, if it was a row.
    pub rule: Option<String>,
    /// What the caller is answered instead, if it is denied.
    pub answer: Option<AnswerFacts>,
    /// What is asked.
    pub request: RequestFacts,
    /// When it is asked; none where the time does not count.
    pub at: Option<String>,
    /// The key.
    pub key: KeyFacts,
    /// The role; none for a key without one.
    pub role: Option<RoleFacts>,
    /// The service; none if there is no such service, and for what the gateway itself answers.
    pub service: Option<NamedService>,
    /// The operation that the path and the method name.
    pub operation: Option<OperationFacts>,
    /// The rows that had a part in it, the most specific first.
    pub rows: Vec<RowFacts>,
    /// What the deciding row lets through; none if the call is denied.
    pub grant: Option<GrantFacts>,
    /// What a reader should know beside the decision.
    pub notes: Vec<String>,
}

/// An answer that is an error.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerFacts {
    /// The status.
    pub status: u16,
    /// The `type` of the envelope.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The message.
    pub message: String,
}

/// What is asked.
#[derive(Clone, Debug, Serialize)]
pub struct RequestFacts {
    /// The method that is sent.
    pub method: String,
    /// Path and query string.
    pub path: String,
    /// The verb that a role must grant.
    pub judged_as: &'static str,
    /// What rows are matched against; none for what the gateway itself answers.
    pub component: Option<String>,
}

/// A key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyFacts {
    /// Its name.
    pub name: KeyName,
    /// Where its table stands.
    pub position: String,
    /// Whether it is active.
    pub active: bool,
    /// It is refused before.
    pub not_before: Option<String>,
    /// It is refused from then on.
    pub expires: Option<String>,
}

/// A role, and why it is this one.
#[derive(Clone, Debug, Serialize)]
pub struct RoleFacts {
    /// Its name.
    pub name: RoleName,
    /// Where its table stands.
    pub position: String,
    /// Whether it is active.
    pub active: bool,
    /// Whose role it is: `key`.
    pub chosen_by: &'static str,
    /// Where that is written.
    pub chosen_at: Option<String>,
}

/// A service.
#[derive(Clone, Debug, Serialize)]
pub struct NamedService {
    /// Its name.
    pub name: ServiceName,
    /// Where its table stands.
    pub position: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it is served.
    pub active: bool,
}

/// An operation of a service.
#[derive(Clone, Debug, Serialize)]
pub struct OperationFacts {
    /// Its name.
    pub name: &'static str,
    /// Its method.
    pub method: String,
    /// Its path below the service.
    pub path: &'static str,
}

/// A row of a role, and its part in the decision.
#[derive(Clone, Debug, Serialize)]
pub struct RowFacts {
    /// Where it stands.
    pub position: String,
    /// Its service, or `*`.
    pub service: String,
    /// Its component.
    pub component: String,
    /// Its verbs.
    pub verbs: Vec<&'static str>,
    /// Whether it denies.
    pub deny: bool,
    /// Its filter, as it was written.
    pub filter: Option<String>,
    /// Its columns.
    pub fields: Option<BTreeSet<String>>,
    /// The word for its part.
    pub part: &'static str,
    /// Why it had this part.
    pub why: String,
}

/// What the deciding row lets through.
#[derive(Clone, Debug, Serialize)]
pub struct GrantFacts {
    /// Only records that satisfy it, as it was written; all without one.
    pub filter: Option<String>,
    /// The values of the lookups in it, for this key; none for one without a value.
    pub lookups: BTreeMap<String, Option<String>>,
    /// Only these columns; all without a list.
    pub fields: Option<BTreeSet<String>>,
}
