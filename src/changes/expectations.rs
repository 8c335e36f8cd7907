//! Access tests that come and go: they do not change what anybody may do, but a reviewer wants to know what is no longer
//! held to be so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sentence::Sentence;
use super::{Change, Class, Mark, Side, Site, What};
use crate::manifest::key::Moment;
use crate::manifest::{Expectation, ManifestSet};

/// An access test. Its description is for those who read a failure, and makes no difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectationChange {
    /// Whether it comes or goes.
    pub mark: Mark,
    /// The key that asks.
    pub key: String,
    /// Method and path, as they are written.
    pub request: String,
    /// `allowed` or `denied`.
    pub answer: &'static str,
    /// The row that must decide, as far as it is given.
    pub rule: Option<String>,
    /// The moment at which the key asks.
    pub at: Option<String>,
}

impl ExpectationChange {
    pub(super) fn sentence(&self) -> Sentence {
        let sentence = Sentence::of("expectation: key ")
            .name(&self.key)
            .words(", ")
            .text(&self.request)
            .words(format!(" is {}", self.answer));
        let sentence = match &self.rule {
            Some(rule) => sentence.words(" by ").text(rule),
            None => sentence,
        };
        let sentence = match &self.at {
            Some(moment) => sentence.words(" at ").name(moment),
            None => sentence,
        };
        match self.mark {
            Mark::Added => sentence.words("; this is new"),
            Mark::Removed | Mark::Changed => sentence.words("; this is no longer expected"),
        }
    }
}

pub(super) fn compare(from: &ManifestSet, to: &ManifestSet, list: &mut Vec<Change>) {
    let (before, after) = (said(from), said(to));
    for (said, old) in before.iter().filter(|(said, _)| !after.contains_key(*said)) {
        list.push(change(said, old, Side::From));
    }
    for (said, new) in after.iter().filter(|(said, _)| !before.contains_key(*said)) {
        list.push(change(said, new, Side::To));
    }
}

/// What a test says, however it is written.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    key: String,
    method: String,
    target: String,
    answer: &'static str,
    rule: Option<String>,
    at: Option<Moment>,
}

/// The tests of a tree by what they say; one that is written twice counts once.
fn said(set: &ManifestSet) -> BTreeMap<Said, &Arc<Expectation>> {
    let mut found = BTreeMap::new();
    for expectation in &set.expectations {
        let said = Said {
            key: expectation.key.to_string(),
            method: expectation.question.method.to_string(),
            target: format!("{:?}", expectation.question.target),
            answer: expectation.answer.name(),
            rule: rule(expectation),
            at: expectation.at,
        };
        found.entry(said).or_insert(expectation);
    }
    found
}

fn rule(expectation: &Expectation) -> Option<String> {
    let rule = expectation.rule.as_ref()?;
    let parts = [
        ("role", rule.role.as_ref().map(ToString::to_string)),
        ("service", rule.service.clone()),
        (
            "component",
            rule.component.as_ref().map(ToString::to_string),
        ),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {:?}", value?)))
        .collect();
    Some(parts.join(", "))
}

fn change(said: &Said, expectation: &Expectation, side: Side) -> Change {
    let (mark, class) = match side {
        Side::From => (Mark::Removed, Class::ExpectationRemoved),
        Side::To => (Mark::Added, Class::ExpectationAdded),
    };
    Change {
        what: What::Expectation(ExpectationChange {
            mark,
            key: said.key.clone(),
            request: expectation.question.to_string(),
            answer: said.answer,
            rule: said.rule.clone(),
            at: said.at.map(|moment| moment.utc().to_rfc3339()),
        }),
        classes: [class].into(),
        sites: vec![Site {
            side,
            position: expectation.position.clone(),
        }],
    }
}
