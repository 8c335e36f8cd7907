//! What an application finds described before and after: two OpenAPI documents → what breaks its clients and what does
//! not.
//!
//! The rules, in the spirit of oasdiff: what a client sends must stay good, so nothing that it may send may go, become
//! required or be accepted in fewer forms; what it gets must stay as it was, so nothing may be missing or be of another
//! type. Members of a record that do not exist are refused, so taking one from a request breaks as well. New values of
//! an enumeration in an answer, other limits and other defaults are said, but do not break.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::access::{Principal, subject};
use super::comparison::Comparison;
use super::sentence::Sentence;
use super::{Change, Class, Mark, Site, What};
use crate::connector::Description;
use crate::connector::access::Access;
use crate::connector::operation::Operation;
use crate::names::{RoleName, ServiceName};
use crate::openapi::{ServiceDescription, document};

/// Most schemas within each other that are compared; those of records need five.
const MAX_DEPTH: usize = 24;

/// Names a rule: its variant, its name for programs, its mark, whether it breaks, and its words for people.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $mark:ident, $breaks:literal, $words:literal;)*) => {
        /// In what two documents differ.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// Every rule, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// For programs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(super) const fn mark(self) -> Mark {
                match self { $(Self::$variant => Mark::$mark,)* }
            }

            /// Whether clients may fail.
            pub const fn breaks(self) -> bool {
                match self { $(Self::$variant => $breaks,)* }
            }

            const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }
    };
}

rules! {
    /// An operation is gone.
    OperationRemoved = "operation-removed", Removed, true, "no longer there";
    /// An operation is new.
    OperationAdded = "operation-added", Added, false, "new";
    /// A parameter is gone; who sends it is answered 400.
    ParameterRemoved = "parameter-removed", Removed, true, "parameter gone";
    /// A parameter is new and may be left out.
    ParameterAdded = "parameter-added", Added, false, "new parameter";
    /// A parameter must be sent now.
    ParameterRequired = "parameter-required", Changed, true, "parameter required";
    /// A parameter may be left out now.
    ParameterOptional = "parameter-optional", Changed, false, "parameter no longer required";
    /// A body is no longer taken.
    BodyRemoved = "body-removed", Removed, true, "body no longer taken";
    /// A body must be sent now.
    BodyRequired = "body-required", Changed, true, "body required";
    /// A body may be sent now.
    BodyAdded = "body-added", Added, false, "body taken";
    /// A media type of bodies or of answers is gone.
    FormatRemoved = "format-removed", Removed, true, "media type gone";
    /// A media type of bodies or of answers is new.
    FormatAdded = "format-added", Added, false, "new media type";
    /// A member of a body is gone; who sends it is answered 400.
    RequestFieldRemoved = "request-field-removed", Removed, true, "no longer taken";
    /// A member of a body is new.
    RequestFieldAdded = "request-field-added", Added, false, "may be sent";
    /// A member of a body must be sent now.
    RequestFieldRequired = "request-field-required", Changed, true, "must be sent";
    /// A member of a body may be left out now.
    RequestFieldOptional = "request-field-optional", Changed, false, "may be left out";
    /// A value is no longer accepted.
    RequestValueRemoved = "request-value-removed", Changed, true, "takes fewer values";
    /// A value is accepted now.
    RequestValueAdded = "request-value-added", Changed, false, "takes more values";
    /// What is sent must be of another type.
    RequestTypeChanged = "request-type-changed", Changed, true, "takes another type";
    /// What is sent may be of more types.
    RequestTypeWidened = "request-type-widened", Changed, false, "takes more types";
    /// What is sent is limited more tightly.
    RequestLimitNarrowed = "request-limit-narrowed", Changed, true, "takes less";
    /// What is sent is limited less tightly.
    RequestLimitWidened = "request-limit-widened", Changed, false, "takes more";
    /// What is left out has another default.
    RequestDefaultChanged = "request-default-changed", Changed, false, "has another default";
    /// A member of an answer is gone.
    ResponseFieldRemoved = "response-field-removed", Removed, true, "no longer answered";
    /// A member of an answer is new.
    ResponseFieldAdded = "response-field-added", Added, false, "answered";
    /// A member of an answer may be missing now.
    ResponseFieldOptional = "response-field-optional", Changed, true, "may be missing in answers";
    /// A member of an answer is always there now.
    ResponseFieldRequired = "response-field-required", Changed, false, "always answered";
    /// A value may be answered that could not be before.
    ResponseValueAdded = "response-value-added", Changed, false, "may be answered with more values";
    /// A value is no longer answered.
    ResponseValueRemoved = "response-value-removed", Changed, false, "answered with fewer values";
    /// What is answered is of another type, or may be null now.
    ResponseTypeChanged = "response-type-changed", Changed, true, "answered with another type";
    /// What is answered is of fewer types than before.
    ResponseTypeNarrowed = "response-type-narrowed", Changed, false, "answered with fewer types";
    /// What is answered has other limits.
    ResponseLimitChanged = "response-limit-changed", Changed, false, "answered within other limits";
    /// Something that these rules do not know.
    SchemaChanged = "schema-changed", Changed, true, "described otherwise";
}

/// One operation of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationName {
    /// The service.
    pub service: ServiceName,
    /// The path below the service, as the document has it: `/_table/album/{id}`.
    pub path: String,
    /// The method, in capitals.
    pub method: String,
}

/// What an application finds described otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiChange {
    /// Whom it concerns.
    pub principals: Vec<Principal>,
    /// Their role before.
    pub role_before: Option<RoleName>,
    /// Their role now.
    pub role_after: Option<RoleName>,
    /// In what the documents differ.
    pub rule: Rule,
    /// The parameter, the media type or the member that it is about; empty for an operation as a whole.
    pub subject: String,
    /// What the document said before, where that is short.
    pub before: Option<String>,
    /// What it says now.
    pub after: Option<String>,
    /// In which operations.
    pub operations: Vec<OperationName>,
}

impl ApiChange {
    pub(super) fn sentence(&self) -> Sentence {
        let mut sentence = subject(
            &self.principals,
            self.role_before.as_ref(),
            self.role_after.as_ref(),
        )
        .words(": ");
        let operations = self.operations.iter().map(|operation| {
            let path = operation.path.trim_end_matches('/');
            format!("{} {}{path}", operation.method, operation.service)
        });
        let words = self.rule.words();
        if self.subject.is_empty() {
            return sentence.words(format!("{words}: ")).names(operations);
        }
        sentence = match self.rule {
            Rule::ParameterRemoved
            | Rule::ParameterAdded
            | Rule::ParameterRequired
            | Rule::ParameterOptional
            | Rule::FormatRemoved
            | Rule::FormatAdded => sentence.words(format!("{words} ")).text(&self.subject),
            _ => sentence.text(&self.subject).words(format!(" {words}")),
        };
        let anything = |value: &Option<String>| match value {
            Some(value) => Sentence::default().text(value),
            None => Sentence::of("anything"),
        };
        sentence = match (self.rule, &self.before, &self.after) {
            (_, None, None) => sentence,
            (Rule::RequestValueRemoved | Rule::ResponseValueRemoved, Some(removed), None) => {
                sentence.words(", no longer ").text(removed).words(",")
            }
            (Rule::RequestValueAdded | Rule::ResponseValueAdded, None, Some(added)) => {
                sentence.words(", also ").text(added).words(",")
            }
            (_, before, after) => sentence
                .words(" (")
                .and(anything(before))
                .words(" → ")
                .and(anything(after))
                .words(")"),
        };
        sentence.words(" in ").names(operations)
    }
}

/// One difference between two documents of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    rule: Rule,
    subject: String,
    before: Option<String>,
    after: Option<String>,
    path: String,
    /// In capitals.
    pub(super) method: String,
}

impl Difference {
    /// What roles are matched against for its operation, with parameters in braces.
    pub(super) fn component(&self) -> String {
        let pieces = self.path.split('/').filter(|piece| !piece.is_empty());
        let pieces: Vec<String> = pieces
            .map(|piece| {
                let text = percent_decode_str(piece).decode_utf8_lossy();
                text.replace('/', "%2F")
            })
            .collect();
        pieces.join("/")
    }
}

/// What a service is to a reader of its document.
pub(super) struct Reader<'a> {
    pub(super) operations: &'a [Operation],
    pub(super) access: Access,
    /// What the backend told of itself, if it was asked.
    pub(super) details: Option<&'a Description>,
}

/// Compares the documents of one service. A service that is not there for the reader has none.
pub(super) fn compare(
    service: &ServiceName,
    before: Option<&Reader<'_>>,
    after: Option<&Reader<'_>>,
) -> Vec<Difference> {
    // Tables that only one side has told of would all seem new, or gone.
    let both_told = [before, after]
        .into_iter()
        .flatten()
        .all(|reader| reader.details.is_some());
    let document_of = |reader: Option<&Reader<'_>>| {
        let reader = reader?;
        let details = reader.details.filter(|_| both_told);
        let description = ServiceDescription {
            name: service.as_str(),
            label: "",
            description: "",
            operations: reader.operations,
            details: details.unwrap_or(&Description::General),
            access: reader.access.clone(),
        };
        Some(document(&[description], true, ""))
    };
    let (before, after) = (document_of(before), document_of(after));
    let empty = Value::Object(Map::new());
    let documents = Documents {
        before: before.as_ref().unwrap_or(&empty),
        after: after.as_ref().unwrap_or(&empty),
        empty: &empty,
    };
    let mut found = Vec::new();
    let (old, new) = (operations(documents.before), operations(documents.after));
    for (name, operation) in old.iter().map(|(name, operation)| (*name, operation)) {
        let mut differences = Differences::default();
        match new.get(&name) {
            None => differences.add(Rule::OperationRemoved, ""),
            Some(other) => documents.operation(operation, other, &mut differences),
        }
        found.extend(differences.of(name));
    }
    for name in new.keys().copied().filter(|name| !old.contains_key(name)) {
        let mut differences = Differences::default();
        differences.add(Rule::OperationAdded, "");
        found.extend(differences.of(name));
    }
    found
}

/// The operations of a document, by path and method.
fn operations(document: &Value) -> BTreeMap<(&str, &str), &Map<String, Value>> {
    let paths = document.get("paths").and_then(Value::as_object);
    let mut found = BTreeMap::new();
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            if let Some(operation) = operation.as_object() {
                found.insert((path.as_str(), method.as_str()), operation);
            }
        }
    }
    found
}

/// The differences of one operation: each once, whatever the number of media types in which it shows.
#[derive(Default)]
struct Differences(BTreeSet<(Rule, String, Option<String>, Option<String>)>);

impl Differences {
    fn add(&mut self, rule: Rule, subject: &str) {
        self.0.insert((rule, subject.to_owned(), None, None));
    }

    fn add_with(
        &mut self,
        rule: Rule,
        subject: &str,
        before: Option<String>,
        after: Option<String>,
    ) {
        self.0.insert((rule, subject.to_owned(), before, after));
    }

    fn of(self, (path, method): (&str, &str)) -> impl Iterator<Item = Difference> {
        self.0
            .into_iter()
            .map(move |(rule, subject, before, after)| Difference {
                rule,
                subject,
                before,
                after,
                path: path.to_owned(),
                method: method.to_ascii_uppercase(),
            })
    }
}

/// Whether a client sends something or gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Response,
}

#[derive(Clone, Copy)]
struct Documents<'a> {
    before: &'a Value,
    after: &'a Value,
    /// An object without members.
    empty: &'a Value,
}

impl<'a> Documents<'a> {
    fn operation(
        self,
        before: &'a Map<String, Value>,
        after: &'a Map<String, Value>,
        found: &mut Differences,
    ) {
        self.parameters(before, after, found);
        self.body(before.get("requestBody"), after.get("requestBody"), found);
        let statuses = |operation: &'a Map<String, Value>| {
            operation.get("responses").and_then(Value::as_object)
        };
        for (status, response) in statuses(before).into_iter().flatten() {
            let other = statuses(after).and_then(|responses| responses.get(status));
            let (Some(other), false) = (other, status == "default") else {
                continue;
            };
            let content = |document, response| resolved(document, response).get("content");
            self.content(
                content(self.before, response),
                content(self.after, other),
                Way::Response,
                found,
            );
        }
    }

    fn parameters(
        self,
        before: &'a Map<String, Value>,
        after: &'a Map<String, Value>,
        found: &mut Differences,
    ) {
        let named = |document: &'a Value, operation: &'a Map<String, Value>| {
            let list = operation.get("parameters").and_then(Value::as_array);
            let list = list.into_iter().flatten();
            list.map(|parameter| resolved(document, parameter))
                .filter_map(|parameter| {
                    let text = |key: &str| parameter.get(key)?.as_str();
                    Some(((text("name")?, text("in")?), parameter))
                })
                .collect::<BTreeMap<(&str, &str), &Value>>()
        };
        let is_required = |parameter: &Value| parameter.get("required") == Some(&Value::Bool(true));
        let (old, new) = (named(self.before, before), named(self.after, after));
        for ((name, place), parameter) in &old {
            let Some(other) = new.get(&(*name, *place)) else {
                found.add(Rule::ParameterRemoved, name);
                continue;
            };
            match (is_required(parameter), is_required(other)) {
                (false, true) => found.add(Rule::ParameterRequired, name),
                (true, false) => found.add(Rule::ParameterOptional, name),
                (true, true) | (false, false) => {}
            }
            self.schema(
                parameter.get("schema"),
                other.get("schema"),
                Way::Request,
                name,
                0,
                found,
            );
        }
        for ((name, place), parameter) in &new {
            if !old.contains_key(&(*name, *place)) {
                let rule = if is_required(parameter) {
                    Rule::ParameterRequired
                } else {
                    Rule::ParameterAdded
                };
                found.add(rule, name);
            }
        }
    }

    fn body(self, before: Option<&'a Value>, after: Option<&'a Value>, found: &mut Differences) {
        let is_required = |body: &Value| body.get("required") == Some(&Value::Bool(true));
        let before = before.map(|body| resolved(self.before, body));
        let after = after.map(|body| resolved(self.after, body));
        match (before, after) {
            (None, None) => {}
            (Some(_), None) => found.add(Rule::BodyRemoved, ""),
            (None, Some(body)) if is_required(body) => found.add(Rule::BodyRequired, ""),
            (None, Some(_)) => found.add(Rule::BodyAdded, ""),
            (Some(before), Some(after)) => {
                if is_required(after) && !is_required(before) {
                    found.add(Rule::BodyRequired, "");
                }
                let (before, after) = (before.get("content"), after.get("content"));
                self.content(before, after, Way::Request, found);
            }
        }
    }

    fn content(
        self,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
        way: Way,
        found: &mut Differences,
    ) {
        let types = |content: Option<&'a Value>| content.and_then(Value::as_object);
        let (before, after) = (types(before), types(after));
        for (name, content) in before.into_iter().flatten() {
            match after.and_then(|after| after.get(name)) {
                None => found.add(Rule::FormatRemoved, name),
                Some(other) => {
                    let (old, new) = (content.get("schema"), other.get("schema"));
                    self.schema(old, new, way, "", 0, found);
                }
            }
        }
        for (name, _) in after.into_iter().flatten() {
            if !before.is_some_and(|before| before.contains_key(name)) {
                found.add(Rule::FormatAdded, name);
            }
        }
    }

    fn schema(
        self,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
        way: Way,
        subject: &str,
        depth: usize,
        found: &mut Differences,
    ) {
        if depth > MAX_DEPTH {
            return;
        }
        // No schema and `true` are the same as one that says nothing.
        let said = |document, schema: Option<&'a Value>| match schema {
            None | Some(Value::Bool(true)) => self.empty,
            Some(schema) => resolved(document, schema),
        };
        let (old, new) = match (said(self.before, before), said(self.after, after)) {
            (Value::Object(old), Value::Object(new)) => (old, new),
            (before, after) => {
                if before != after {
                    found.add(Rule::SchemaChanged, subject);
                }
                return;
            }
        };
        types(old, new, way, subject, found);
        values(old, new, way, subject, found);
        limits(old, new, way, subject, found);
        self.members(old, new, way, subject, depth, found);
        if old.contains_key("items") || new.contains_key("items") {
            let inner = format!("{subject}[]");
            self.schema(
                old.get("items"),
                new.get("items"),
                way,
                &inner,
                depth + 1,
                found,
            );
        }
        let others = [
            "oneOf",
            "anyOf",
            "allOf",
            "not",
            "additionalProperties",
            "const",
        ];
        let is_other = others.into_iter().any(|keyword| {
            let of = |document, schema: &'a Map<String, Value>| {
                schema
                    .get(keyword)
                    .map(|value| expanded(document, value, depth))
            };
            of(self.before, old) != of(self.after, new)
        });
        if is_other {
            found.add(Rule::SchemaChanged, subject);
        }
    }

    fn members(
        self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        way: Way,
        subject: &str,
        depth: usize,
        found: &mut Differences,
    ) {
        let properties =
            |schema: &'a Map<String, Value>| schema.get("properties").and_then(Value::as_object);
        let required = |schema: &'a Map<String, Value>| -> BTreeSet<&'a str> {
            let names = schema.get("required").and_then(Value::as_array);
            names
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        let (needed, needs) = (required(old), required(new));
        let (old, new) = (properties(old), properties(new));
        for (name, schema) in old.into_iter().flatten() {
            let member = member(subject, name);
            let Some(other) = new.and_then(|new| new.get(name)) else {
                found.add(
                    match way {
                        Way::Request => Rule::RequestFieldRemoved,
                        Way::Response => Rule::ResponseFieldRemoved,
                    },
                    &member,
                );
                continue;
            };
            let rule = match (
                needed.contains(name.as_str()),
                needs.contains(name.as_str()),
                way,
            ) {
                (false, true, Way::Request) => Some(Rule::RequestFieldRequired),
                (true, false, Way::Request) => Some(Rule::RequestFieldOptional),
                (false, true, Way::Response) => Some(Rule::ResponseFieldRequired),
                (true, false, Way::Response) => Some(Rule::ResponseFieldOptional),
                (true, true, _) | (false, false, _) => None,
            };
            if let Some(rule) = rule {
                found.add(rule, &member);
            }
            self.schema(Some(schema), Some(other), way, &member, depth + 1, found);
        }
        for (name, _) in new.into_iter().flatten() {
            if old.is_some_and(|old| old.contains_key(name)) {
                continue;
            }
            let rule = match way {
                Way::Request if needs.contains(name.as_str()) => Rule::RequestFieldRequired,
                Way::Request => Rule::RequestFieldAdded,
                Way::Response => Rule::ResponseFieldAdded,
            };
            found.add(rule, &member(subject, name));
        }
    }
}

/// Records of a list are named like those of a single one.
fn member(subject: &str, name: &str) -> String {
    match subject {
        "" | "resource[]" => name.to_owned(),
        subject => format!("{subject}.{name}"),
    }
}

/// Follows a reference within a document; a circle ends somewhere.
fn resolved<'a>(document: &'a Value, mut value: &'a Value) -> &'a Value {
    for _ in 0..MAX_DEPTH {
        let target = value
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| document.pointer(pointer));
        match target {
            Some(target) => value = target,
            None => break,
        }
    }
    value
}

/// A value in which references stand for what they name, as deep as schemas are compared.
fn expanded(document: &Value, value: &Value, depth: usize) -> Value {
    let value = resolved(document, value);
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "description");
            members
                .map(|(name, member)| (name.clone(), expanded(document, member, depth + 1)))
                .collect()
        }
        Value::Array(list) => (list.iter())
            .map(|member| expanded(document, member, depth + 1))
            .collect(),
        other => other.clone(),
    }
}

/// Type and format, as one word for each: `integer (int32)`.
fn types(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    way: Way,
    subject: &str,
    found: &mut Differences,
) {
    let of = |schema: &Map<String, Value>| -> Option<BTreeSet<String>> {
        let format = ["format", "contentEncoding"]
            .into_iter()
            .find_map(|keyword| schema.get(keyword)?.as_str());
        let with_format = |name: &str| match format {
            Some(format) if name != "null" => format!("{name} ({format})"),
            _ => name.to_owned(),
        };
        match schema.get("type")? {
            Value::String(name) => Some([with_format(name)].into()),
            Value::Array(names) => {
                let names = names.iter().filter_map(Value::as_str);
                Some(names.map(with_format).collect())
            }
            _ => None,
        }
    };
    let (before, after) = (of(old), of(new));
    if before == after {
        return;
    }
    let (kept, given) = (
        admits(after.as_ref(), before.as_ref()),
        admits(before.as_ref(), after.as_ref()),
    );
    let rule = match (way, kept, given) {
        (_, true, true) => return,
        (Way::Request, true, _) => Rule::RequestTypeWidened,
        (Way::Request, false, _) => Rule::RequestTypeChanged,
        (Way::Response, _, true) => Rule::ResponseTypeNarrowed,
        (Way::Response, _, false) => Rule::ResponseTypeChanged,
    };
    let text = |types: Option<BTreeSet<String>>| {
        types.map(|types| types.into_iter().collect::<Vec<_>>().join(" or "))
    };
    found.add_with(rule, subject, text(before), text(after));
}

/// Types that another one contains: each with those that it is a part of.
const WIDER: &[(&str, &[&str])] = &[
    (
        "integer (int16)",
        &["integer (int32)", "integer (int64)", "integer", "number"],
    ),
    ("integer (int32)", &["integer (int64)", "integer", "number"]),
    ("integer (int64)", &["integer", "number"]),
    ("integer", &["number"]),
    ("number (float)", &["number (double)", "number"]),
    ("number (double)", &["number"]),
    ("number (decimal)", &["number"]),
];

/// Whether every value of one set of types is one of another; no set is every type.
fn admits(wide: Option<&BTreeSet<String>>, narrow: Option<&BTreeSet<String>>) -> bool {
    let Some(wide) = wide else { return true };
    let Some(narrow) = narrow else { return false };
    narrow.iter().all(|name| {
        let plain = name.split(" (").next().unwrap_or(name);
        let wider = WIDER
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, wider)| *wider);
        wide.contains(name)
            || wide.contains(plain)
            || wider.is_some_and(|wider| wider.iter().any(|name| wide.contains(*name)))
    })
}

fn values(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    way: Way,
    subject: &str,
    found: &mut Differences,
) {
    let of = |schema: &Map<String, Value>| -> Option<BTreeSet<String>> {
        let values = schema.get("enum")?.as_array()?;
        Some(
            values
                .iter()
                .map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect(),
        )
    };
    let (before, after) = (of(old), of(new));
    if before == after {
        return;
    }
    let (removed_rule, added_rule) = match way {
        Way::Request => (Rule::RequestValueRemoved, Rule::RequestValueAdded),
        Way::Response => (Rule::ResponseValueRemoved, Rule::ResponseValueAdded),
    };
    let listed = |values: &BTreeSet<String>| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    match (before, after) {
        (Some(before), Some(after)) => {
            // Only those that come or go are said.
            if let Some(removed) = listed(&(&before - &after)) {
                found.add_with(removed_rule, subject, Some(removed), None);
            }
            if let Some(added) = listed(&(&after - &before)) {
                found.add_with(added_rule, subject, None, Some(added));
            }
        }
        (Some(before), None) => found.add_with(added_rule, subject, listed(&before), None),
        (None, Some(after)) => found.add_with(removed_rule, subject, None, listed(&after)),
        (None, None) => {}
    }
}

/// Keywords that limit values: whether a larger number admits more.
const LIMITS: &[(&str, bool)] = &[
    ("maximum", true),
    ("exclusiveMaximum", true),
    ("maxLength", true),
    ("maxItems", true),
    ("maxProperties", true),
    ("minimum", false),
    ("exclusiveMinimum", false),
    ("minLength", false),
    ("minItems", false),
    ("minProperties", false),
];

fn limits(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    way: Way,
    subject: &str,
    found: &mut Differences,
) {
    let text = |value: Option<&Value>| value.map(Value::to_string);
    for (keyword, larger_is_wider) in LIMITS {
        let (before, after) = (old.get(*keyword), new.get(*keyword));
        if before == after {
            continue;
        }
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let is_wider = match (number(before), number(after)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(before), Some(after)) => (after > before) == *larger_is_wider,
        };
        let rule = match (way, is_wider) {
            (Way::Request, true) => Rule::RequestLimitWidened,
            (Way::Request, false) => Rule::RequestLimitNarrowed,
            (Way::Response, _) => Rule::ResponseLimitChanged,
        };
        let says = |value| text(value).map(|value| format!("{keyword} {value}"));
        found.add_with(rule, subject, says(before), says(after));
    }
    let (before, after) = (old.get("pattern"), new.get("pattern"));
    if before != after {
        let rule = match (way, after) {
            (Way::Request, None) => Rule::RequestLimitWidened,
            (Way::Request, Some(_)) => Rule::RequestLimitNarrowed,
            (Way::Response, _) => Rule::ResponseLimitChanged,
        };
        found.add_with(rule, subject, text(before), text(after));
    }
    let (before, after) = (old.get("default"), new.get("default"));
    if way == Way::Request && before != after {
        let says = |value| text(value).or_else(|| Some("none".to_owned()));
        found.add_with(
            Rule::RequestDefaultChanged,
            subject,
            says(before),
            says(after),
        );
    }
}

/// Differences that several operations have in common.
#[derive(Default)]
pub(super) struct Found(BTreeMap<Common, BTreeSet<OperationName>>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    about: About,
    principals: Vec<Principal>,
    sites: Vec<Site>,
}

/// What differs, and for whom.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct About {
    rule: Rule,
    subject: String,
    before: Option<String>,
    after: Option<String>,
    roles: (Option<RoleName>, Option<RoleName>),
}

impl Found {
    /// Adds a difference in a service that some keys meet, with the places of its cause.
    pub(super) fn add(
        &mut self,
        difference: &Difference,
        service: &ServiceName,
        keys: &Comparison<'_>,
        sites: Vec<Site>,
    ) {
        let common = Common {
            about: About {
                rule: difference.rule,
                subject: difference.subject.clone(),
                before: difference.before.clone(),
                after: difference.after.clone(),
                roles: keys.roles(),
            },
            principals: keys.principals(),
            sites,
        };
        let operations = self.0.entry(common).or_default();
        operations.insert(OperationName {
            service: service.clone(),
            path: difference.path.clone(),
            method: difference.method.clone(),
        });
    }

    /// Each of them as a change. What several kinds of keys meet alike is one.
    pub(super) fn finish(self, list: &mut Vec<Change>) {
        let mut joined: BTreeMap<_, (BTreeSet<Principal>, Vec<Site>)> = BTreeMap::new();
        for (common, operations) in self.0 {
            let about = (common.about, operations);
            let (principals, sites) = joined.entry(about).or_default();
            principals.extend(common.principals);
            for site in common.sites {
                if !sites.contains(&site) {
                    sites.push(site);
                }
            }
        }
        list.extend(
            joined
                .into_iter()
                .map(|((about, operations), (principals, sites))| {
                    let class = if about.rule.breaks() {
                        Class::Breaking
                    } else {
                        Class::ApiChanged
                    };
                    let mut principals: Vec<Principal> = principals.into_iter().collect();
                    principals.sort_by_cached_key(Principal::name);
                    let (role_before, role_after) = about.roles;
                    Change {
                        classes: [class].into(),
                        sites,
                        what: What::Api(ApiChange {
                            principals,
                            role_before,
                            role_after,
                            rule: about.rule,
                            subject: about.subject,
                            before: about.before,
                            after: about.after,
                            operations: operations.into_iter().collect(),
                        }),
                    }
                }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The rules that two schemas break, in a body or in an answer.
    fn rules(way: Way, before: &Value, after: &Value) -> Vec<(&'static str, String)> {
        let documents = Documents {
            before: &Value::Null,
            after: &Value::Null,
            empty: &json!({}),
        };
        let mut found = Differences::default();
        documents.schema(Some(before), Some(after), way, "", 0, &mut found);
        let found = found.0.into_iter();
        found
            .map(|(rule, subject, _, _)| (rule.name(), subject))
            .collect()
    }

    #[test]
    fn what_a_client_sends_must_stay_good_and_what_it_gets_must_stay_there() {
        let of = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required });
        let text = json!({ "type": "string", "maxLength": 20 });
        for (way, before, after, expected) in [
            (
                Way::Request,
                of(json!({ "a": text }), &[]),
                of(json!({}), &[]),
                "request-field-removed",
            ),
            (
                Way::Response,
                of(json!({ "a": text }), &[]),
                of(json!({}), &[]),
                "response-field-removed",
            ),
            (
                Way::Request,
                of(json!({}), &[]),
                of(json!({ "a": text }), &[]),
                "request-field-added",
            ),
            (
                Way::Request,
                of(json!({}), &[]),
                of(json!({ "a": text }), &["a"]),
                "request-field-required",
            ),
            (
                Way::Request,
                of(json!({ "a": text }), &[]),
                of(json!({ "a": text }), &["a"]),
                "request-field-required",
            ),
            (
                Way::Request,
                of(json!({ "a": text }), &["a"]),
                of(json!({ "a": text }), &[]),
                "request-field-optional",
            ),
            (
                Way::Response,
                of(json!({ "a": text }), &["a"]),
                of(json!({ "a": text }), &[]),
                "response-field-optional",
            ),
        ] {
            assert_eq!(rules(way, &before, &after), [(expected, "a".to_owned())]);
        }
        for (way, before, after, expected) in [
            (
                Way::Request,
                json!({"type": "integer"}),
                json!({"type": "string"}),
                "request-type-changed",
            ),
            (
                Way::Request,
                json!({"type": "integer"}),
                json!({"type": ["integer", "null"]}),
                "request-type-widened",
            ),
            (
                Way::Request,
                json!({"type": "integer", "format": "int32"}),
                json!({"type": "integer", "format": "int64"}),
                "request-type-widened",
            ),
            (
                Way::Response,
                json!({"type": "integer", "format": "int32"}),
                json!({"type": "integer", "format": "int64"}),
                "response-type-changed",
            ),
            (
                Way::Response,
                json!({"type": "string"}),
                json!({"type": ["string", "null"]}),
                "response-type-changed",
            ),
            (
                Way::Response,
                json!({"type": ["string", "null"]}),
                json!({"type": "string"}),
                "response-type-narrowed",
            ),
            (
                Way::Request,
                json!({"enum": ["a", "b"]}),
                json!({"enum": ["a"]}),
                "request-value-removed",
            ),
            (
                Way::Request,
                json!({}),
                json!({"enum": ["a"]}),
                "request-value-removed",
            ),
            (
                Way::Request,
                json!({"enum": ["a"]}),
                json!({"enum": ["a", "b"]}),
                "request-value-added",
            ),
            (
                Way::Response,
                json!({"enum": ["a"]}),
                json!({"enum": ["a", "b"]}),
                "response-value-added",
            ),
            (
                Way::Request,
                json!({"maxLength": 20}),
                json!({"maxLength": 10}),
                "request-limit-narrowed",
            ),
            (
                Way::Request,
                json!({"maxLength": 20}),
                json!({}),
                "request-limit-widened",
            ),
            (
                Way::Request,
                json!({"minimum": 2}),
                json!({"minimum": 1}),
                "request-limit-widened",
            ),
            (
                Way::Request,
                json!({}),
                json!({"pattern": "^a"}),
                "request-limit-narrowed",
            ),
            (
                Way::Response,
                json!({"maxLength": 20}),
                json!({"maxLength": 10}),
                "response-limit-changed",
            ),
            (
                Way::Request,
                json!({"default": 1}),
                json!({"default": 2}),
                "request-default-changed",
            ),
            (
                Way::Response,
                json!({"anyOf": [{"type": "string"}]}),
                json!({"anyOf": [{"type": "integer"}]}),
                "schema-changed",
            ),
        ] {
            assert_eq!(
                rules(way, &before, &after),
                [(expected, String::new())],
                "{before} → {after}"
            );
            assert_eq!(rules(way, &before, &before), []);
        }
    }

    #[test]
    fn members_of_listed_records_are_named_like_those_of_one_record() {
        let list = |record: Value| json!({ "properties": { "resource": { "type": "array", "items": record } } });
        let record = |name: &str| json!({ "properties": { (name): { "type": "string" } } });
        assert_eq!(
            rules(Way::Response, &list(record("a")), &list(record("b"))),
            [
                ("response-field-removed", "a".to_owned()),
                ("response-field-added", "b".to_owned())
            ]
        );
    }

    #[test]
    fn references_are_followed_and_circles_end() {
        let circle = json!({
            "components": { "schemas": {
                "A": { "properties": { "next": { "$ref": "#/components/schemas/A" }, "x": { "type": "string" } } }
            } }
        });
        let other = json!({
            "components": { "schemas": {
                "A": { "properties": { "next": { "$ref": "#/components/schemas/A" } } }
            } }
        });
        let documents = Documents {
            before: &circle,
            after: &other,
            empty: &json!({}),
        };
        let reference = json!({ "$ref": "#/components/schemas/A" });
        let mut found = Differences::default();
        documents.schema(
            Some(&reference),
            Some(&reference),
            Way::Response,
            "",
            0,
            &mut found,
        );
        assert!(
            found
                .0
                .contains(&(Rule::ResponseFieldRemoved, "x".to_owned(), None, None))
        );
    }
}
