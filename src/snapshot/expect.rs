//! The access tests of a tree, put to the tree itself: no backend is asked. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assemble::application;
use super::explain::{Case, Verdict, covered, described};
use crate::auth::reason::Reason;
use crate::auth::role::CompiledRow;
use crate::auth::route::Target;
use crate::connector::access::SCHEMA;
use crate::connector::operation::{Operation, allowed_methods};
use crate::error::nearest;
use crate::manifest::expect::{Answer, ExpectedRule};
use crate::manifest::key::Moment;
use crate::manifest::{Configs, Diagnostic, Expectation, ManifestSet};
use crate::names::RoleName;

/// Most rows that a help lists.
const MAX_LISTED: usize = 8;

/// What is wrong with the access tests of a tree: those that do not hold, and those that ask for what can never be.
pub fn failures(set: &ManifestSet, configs: &Configs) -> Vec<Diagnostic> {
    let mut applications = BTreeMap::new();
    let mut failures = Vec::new();
    for expectation in &set.expectations {
        let application = applications
            .entry(&expectation.key)
            .or_insert_with(|| application(set, expectation.key.as_str()).map(Arc::new));
        let case = application.as_ref().and_then(|application| {
            let at = expectation.at.map(Moment::utc);
            Case::of(
                set,
                configs,
                Arc::clone(application),
                &expectation.question,
                at,
            )
        });
        if let Some(case) = case {
            let failure = nothing_there(configs, expectation);
            failures.extend(failure.or_else(|| failure_of(&case, expectation)));
        } else {
            let message = format!("there is no key `{}`", expectation.key);
            failures.push(Diagnostic::error(expectation.place("key"), message));
        }
    }
    failures
}

fn failure_of(case: &Case<'_>, expectation: &Expectation) -> Option<Diagnostic> {
    let verdict = case.verdict();
    let answer = if verdict.reason.is_allowed() {
        Answer::Allowed
    } else {
        Answer::Denied
    };
    if answer != expectation.answer {
        let message = format!(
            "{} is {}: {}",
            subject(expectation),
            answer.name(),
            case.because(&verdict)
        );
        let place = expectation.place("answer");
        let help = mend(case, &verdict, expectation);
        return Some(Diagnostic::error(place, message).with_help(help));
    }
    let rule = expectation.rule.as_ref()?;
    let row = verdict.rule.as_ref().and_then(|rule| case.row(rule));
    if row.is_some_and(|row| is_meant(rule, case, row)) {
        return None;
    }
    let message = format!(
        "{} is {} as expected, but not by the row that is expected: {}",
        subject(expectation),
        answer.name(),
        case.because(&verdict)
    );
    let help = known_rows(case, rule);
    Some(Diagnostic::error(expectation.place("rule"), message).with_help(help))
}

/// What the expectation is about, for the beginning of a message.
fn subject(expectation: &Expectation) -> String {
    let about = match &expectation.description {
        Some(description) => format!(" \"{description}\""),
        None => String::new(),
    };
    let Expectation { question, key, .. } = expectation;
    format!("the expectation{about} does not hold: {question} with the key `{key}`")
}

/// A path to which no service will ever have an answer is denied to everybody, so that a test of it proves nothing.
fn nothing_there(configs: &Configs, expectation: &Expectation) -> Option<Diagnostic> {
    let Target::Service { service, component } = &expectation.question.target else {
        return None;
    };
    let operations = configs.services.get(service.as_str())?.operations();
    if allowed_methods(operations, component).is_some() {
        return None;
    }
    let message = format!(
        "the service `{service}` has nothing at `{}`, so this expectation would prove nothing",
        component.as_str()
    );
    let first = component.segments().first().map_or("", String::as_str);
    let known = beginnings(operations);
    let help = match nearest(first, known.iter().copied()) {
        Some(near) if near != first => format!("did you mean `{near}`?"),
        _ => {
            let paths = operations.iter().map(|operation| operation.path);
            let paths = paths.filter(|path| !path.is_empty());
            let paths = listed(paths.map(|path| format!("`{path}`")));
            format!("its paths are {paths}")
        }
    };
    Some(Diagnostic::error(expectation.place("request"), message).with_help(help))
}

/// The first segments of the paths of a service.
fn beginnings(operations: &[Operation]) -> Vec<&'static str> {
    operations
        .iter()
        .filter_map(|operation| operation.path.split('/').find(|piece| !piece.is_empty()))
        .filter(|piece| !piece.starts_with('{'))
        .collect()
}

/// `a, b, …`, each once.
fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut known: Vec<String> = Vec::new();
    for text in texts {
        if !known.contains(&text) {
            known.push(text);
        }
        if known.len() > MAX_LISTED {
            known.pop();
            known.push("…".to_owned());
            break;
        }
    }
    known.join(", ")
}

/// Whether a row is the one that is meant.
fn is_meant(expected: &ExpectedRule, case: &Case<'_>, row: &CompiledRow) -> bool {
    let role = case.role().map(|(name, _)| name);
    expected
        .role
        .as_ref()
        .is_none_or(|wanted| Some(wanted) == role)
        && expected
            .service
            .as_ref()
            .is_none_or(|wanted| wanted == row.service_text())
        && expected
            .component
            .as_ref()
            .is_none_or(|wanted| *wanted == row.rule.pattern)
}

/// What rows there are, when another one decided than was expected.
fn known_rows(case: &Case<'_>, expected: &ExpectedRule) -> String {
    let Some((name, role)) = case.role() else {
        return "remove `rule`: the key has no role".to_owned();
    };
    if let Some(wanted) = expected.role.as_ref().filter(|wanted| *wanted != name) {
        return format!("the key has the role `{name}`, not `{wanted}`");
    }
    let meant: Vec<&CompiledRow> = role
        .value
        .rows
        .iter()
        .filter(|row| is_meant(expected, case, row))
        .collect();
    match meant.as_slice() {
        [] => {
            let rows = &role.value.rows;
            let components = rows.iter().map(|row| row.rule.pattern.to_string());
            let components: Vec<String> = components.collect();
            let wanted = expected.component.as_ref().map(ToString::to_string);
            let near = wanted
                .as_deref()
                .filter(|wanted| !components.iter().any(|known| known == wanted))
                .and_then(|wanted| nearest(wanted, components.iter().map(String::as_str)));
            match near {
                Some(near) => format!("did you mean component = \"{near}\"?"),
                None => format!(
                    "the role `{name}` has no such row; its rows are {}",
                    listed(rows.iter().map(covered))
                ),
            }
        }
        rows => {
            let rows = listed(rows.iter().map(|row| described(row)));
            format!("what is expected is {rows}")
        }
    }
}

/// What to write instead.
fn mend(case: &Case<'_>, verdict: &Verdict, expectation: &Expectation) -> String {
    let row = verdict.rule.as_ref().and_then(|rule| case.row(rule));
    let position = row.map(|row| Arc::clone(&row.rule.position));
    let position = position.as_deref().unwrap_or_default();
    let role = case.role().map_or("", |(name, _)| RoleName::as_str(name));
    let verb = case.verb();
    let way = match verdict.reason {
        Reason::Granted => {
            format!("take {verb} out of {position}, add a row with `deny = true`")
        }
        Reason::DeniedByRow => format!("take {verb} out of {position}"),
        Reason::VerbNotGranted if case.changes_schema() => {
            format!(
                "add a row whose component begins with `{SCHEMA}` to the role `{role}`, with {verb}"
            )
        }
        Reason::VerbNotGranted => format!("add {verb} to {position}"),
        Reason::NoRow | Reason::NoAccess => {
            format!("add a row that grants it to the role `{role}`")
        }
        Reason::NoRole => format!("give the key `{}` a role", expectation.key),
        Reason::InactiveKey => format!("make the key `{}` active", expectation.key),
        Reason::InactiveRole => format!("make the role `{role}` active"),
        Reason::ServiceDeactivated => "make the service active".to_owned(),
        Reason::KeyNotYetValid | Reason::ExpiredKey => "choose another moment for `at`".to_owned(),
        Reason::MethodNotAllowed => "ask with a method that is taken there".to_owned(),
        Reason::SomeAccess
        | Reason::AnyKey
        | Reason::Public
        | Reason::NoKey
        | Reason::ConflictingKeys
        | Reason::OtherCredentials
        | Reason::UnknownKey
        | Reason::KeyInQuery
        | Reason::UnknownService
        | Reason::UnknownResource
        | Reason::RefusedInside => "ask something else".to_owned(),
    };
    let other = if verdict.reason.is_allowed() {
        Answer::Allowed
    } else {
        Answer::Denied
    };
    format!("{way}, or write answer = \"{}\"", other.name())
}
