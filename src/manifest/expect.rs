//! `[[expect]]`: access tests that are part of the tree.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Place, Position};
use super::document::Document;
use super::key::Moment;
use crate::auth::route::Question;
use crate::connector::access::Pattern;
use crate::names::{KeyName, RoleName};

/// An access test: what a request with a key must come to. A tree of which one fails is refused, and what was served
/// before is served on.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectTable {
    /// The key that asks, by its name.
    #[schemars(example = &"demo")]
    pub key: KeyName,
    /// Method and path; `/api/v2` may be left out.
    #[schemars(example = "GET /api/v2/chinook/_table/album")]
    pub request: String,
    /// Whether the request must be allowed or denied.
    pub answer: Answer,
    /// The row that must decide.
    pub rule: Option<RuleTable>,
    /// The moment at which the key asks. Without it `not_before` and `expires` of the key do not count, so that no tree
    /// becomes wrong by waiting.
    pub at: Option<Moment>,
    /// Why it must be so; a failure quotes it.
    pub description: Option<String>,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The role grants it and the service takes it.
    Allowed,
    /// Anything else.
    Denied,
}

impl Answer {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// The row that must decide, by what stands in it: what is given here must be what the row says. A position would change
/// with every line above it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// The role that the row belongs to.
    pub role: Option<RoleName>,
    /// The service of the row, or `*`, as the row has it.
    pub service: Option<String>,
    /// The component of the row, as the row has it: `_table/*`.
    #[schemars(example = "_table/*")]
    pub component: Option<String>,
}

/// The row that must decide, read.
#[derive(Clone, Debug)]
pub struct ExpectedRule {
    /// Its role.
    pub role: Option<RoleName>,
    /// Its service, or `*`.
    pub service: Option<String>,
    /// Its component.
    pub component: Option<Pattern>,
}

/// An access test, linked.
#[derive(Clone)]
pub struct Expectation {
    /// The key that asks; it is in the tree.
    pub key: KeyName,
    /// What it asks; the service is in the tree.
    pub question: Question,
    /// What must come of it.
    pub answer: Answer,
    /// The row that must decide.
    pub rule: Option<ExpectedRule>,
    /// When the key asks; none where the time does not count.
    pub at: Option<Moment>,
    /// Why it must be so.
    pub description: Option<String>,
    /// Where its table stands.
    pub position: Position,
    /// The file it stands in.
    pub(super) document: Arc<Document>,
    /// JSON pointer of its table in that file.
    pub(super) pointer: String,
}

impl Expectation {
    /// Where the value of one of its keys stands.
    pub fn place(&self, key: &str) -> Place {
        self.document
            .value_place(&format!("{}/{key}", self.pointer))
    }
}

impl std::fmt::Debug for Expectation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Expectation")
            .field("key", &self.key)
            .field("question", &self.question)
            .field("answer", &self.answer)
            .field("rule", &self.rule)
            .field("at", &self.at)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}
