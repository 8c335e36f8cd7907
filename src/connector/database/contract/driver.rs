//! Talks to a connector as the pipeline does, and holds its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Product, Words, shop};
use crate::clock::{Clock, SystemClock};
use crate::connector::access::{Access, Lookups, Pattern, Rule, Verbs};
use crate::connector::database::connector::error_object;
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::filter;
use crate::connector::operation::{Component, find, judged};
use crate::connector::{Call, CallLimits, Connector, Neighbour, Neighbours, NoNeighbours};
use crate::error::Error;
use crate::exchange::query::decode_percent;
use crate::exchange::{Body, CallContext, Reply, RequestHead, RequestId};
use crate::names::ServiceName;

/// Longest a call may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Most bytes of an answer or a body.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A product under test, not yet opened.
pub(super) struct Tester {
    product: Arc<dyn Product>,
}

impl Tester {
    pub(super) fn new(product: Arc<dyn Product>) -> Self {
        Self { product }
    }

    pub(super) fn product(&self) -> &dyn Product {
        self.product.as_ref()
    }

    pub(super) fn words(&self) -> Words {
        self.product.words().clone()
    }

    /// A database with the shop in it, and a caller who may do everything.
    pub(super) async fn shop(&self) -> Caller {
        self.open(&shop(self.product.words())).await
    }

    /// A database made by these statements, and a caller who may do everything.
    pub(super) async fn open(&self, statements: &[String]) -> Caller {
        self.open_with(statements, DatabaseOptions::default()).await
    }

    pub(super) async fn open_with(
        &self,
        statements: &[String],
        options: DatabaseOptions,
    ) -> Caller {
        Caller {
            connector: self.product.open(statements, options).await,
            access: access(&[allow("*", ALL)], &[]),
            neighbours: Arc::new(NoNeighbours),
        }
    }
}

pub(super) const ALL: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A row of a role.
#[derive(Clone, Debug)]
pub(super) struct Row {
    component: String,
    verbs: Verbs,
    filter: Option<String>,
    fields: Option<BTreeSet<String>>,
    deny: bool,
}

/// A row that allows verbs on a component.
pub(super) fn allow(component: &str, verbs: &[&str]) -> Row {
    Row {
        component: component.to_owned(),
        verbs: verbs
            .iter()
            .map(|verb| Verbs::of(&verb.parse().unwrap()))
            .fold(Verbs::NONE, Verbs::union),
        filter: None,
        fields: None,
        deny: false,
    }
}

/// A row that denies verbs on a component.
pub(super) fn deny(component: &str, verbs: &[&str]) -> Row {
    Row {
        deny: true,
        ..allow(component, verbs)
    }
}

impl Row {
    pub(super) fn filter(mut self, text: &str) -> Self {
        self.filter = Some(text.to_owned());
        self
    }

    pub(super) fn fields(mut self, names: &[&str]) -> Self {
        self.fields = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    fn compiled(&self) -> Rule {
        Rule {
            names_service: true,
            pattern: Pattern::parse(&self.component).unwrap(),
            verbs: self.verbs,
            deny: self.deny,
            filter: self
                .filter
                .as_ref()
                .map(|text| Arc::new(filter::parse_role(text).unwrap())),
            fields: self.fields.clone().map(Arc::new),
            position: Arc::from(self.component.as_str()),
        }
    }
}

fn access(rows: &[Row], lookups: &[(&str, &str)]) -> Access {
    let rules: Vec<Rule> = rows.iter().map(Row::compiled).collect();
    let lookups = Lookups::new(
        lookups
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Access::new("tester", "s", rules, Arc::new(lookups))
}

/// Somebody with a role who calls one connector.
#[derive(Clone)]
pub(super) struct Caller {
    connector: Arc<dyn Connector>,
    access: Access,
    neighbours: Arc<dyn Neighbours>,
}

impl Caller {
    /// The same database for a caller with another role.
    pub(super) fn with_role(&self, rows: &[Row]) -> Self {
        self.with_role_and_lookups(rows, &[])
    }

    pub(super) fn with_role_and_lookups(&self, rows: &[Row], lookups: &[(&str, &str)]) -> Self {
        Self {
            connector: Arc::clone(&self.connector),
            access: access(rows, lookups),
            neighbours: Arc::clone(&self.neighbours),
        }
    }

    /// The same caller where there are other services, each with its own database and role.
    pub(super) fn among(&self, others: &[(&str, &Self)]) -> Self {
        let others = others
            .iter()
            .map(|(name, caller)| ((*name).to_owned(), (*caller).clone()))
            .collect();
        Self {
            neighbours: Arc::new(Others(others)),
            ..self.clone()
        }
    }

    pub(super) fn request(&self, method: &str, target: &str) -> Request<'_> {
        Request {
            caller: self,
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send().await
    }

    /// GET with a filter.
    pub(super) async fn filtered(&self, table: &str, filter: &str) -> Answer {
        self.get(&with(&format!("_table/{table}"), &[("filter", filter)]))
            .await
    }

    pub(super) async fn post(&self, target: &str, body: Value) -> Answer {
        self.request("POST", target).json(&body).send().await
    }

    pub(super) async fn put(&self, target: &str, body: Value) -> Answer {
        self.request("PUT", target).json(&body).send().await
    }

    pub(super) async fn patch(&self, target: &str, body: Value) -> Answer {
        self.request("PATCH", target).json(&body).send().await
    }

    pub(super) async fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target).send().await
    }

    /// One column of all records that a target lists.
    pub(super) async fn column(&self, target: &str, column: &str) -> Vec<Value> {
        self.get(target).await.column(column)
    }

    /// The number of records in a table.
    pub(super) async fn count(&self, table: &str) -> Value {
        self.get(&format!("_table/{table}?count_only=true"))
            .await
            .ok_json()
    }
}

/// Other services by their names.
struct Others(BTreeMap<String, Caller>);

impl Neighbours for Others {
    fn find(&self, service: &ServiceName) -> crate::error::Result<Neighbour> {
        let Some(caller) = self.0.get(service.as_str()) else {
            return NoNeighbours.find(service);
        };
        Ok(Neighbour {
            connector: Arc::clone(&caller.connector),
            access: caller.access.clone(),
        })
    }
}

/// A request in the making.
pub(super) struct Request<'a> {
    caller: &'a Caller,
    method: Method,
    target: String,
    headers: HeaderMap,
    pub(super) body: Body,
}

impl Request<'_> {
    pub(super) fn header(mut self, name: &HeaderName, value: &str) -> Self {
        self.headers
            .insert(name.clone(), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub(super) fn text(mut self, content_type: &str, body: &str) -> Self {
        self.body = Body::Bytes(Bytes::copy_from_slice(body.as_bytes()));
        self.header(&CONTENT_TYPE, content_type)
    }

    pub(super) async fn send(self) -> Answer {
        let target = self.target.clone();
        let method = self.method.clone();
        let outcome = self.call().await;
        let about = format!("{method} {target}");
        match outcome {
            Ok(reply) => {
                let bytes = match reply.body.collect(MAX_BYTES).await {
                    Ok(bytes) => bytes,
                    Err(error) => return Answer::refused_by(about, &error),
                };
                Answer {
                    about,
                    status: reply.status.as_u16(),
                    headers: reply.headers,
                    body: bytes,
                }
            }
            Err(error) => Answer::refused_by(about, &error),
        }
    }

    async fn call(self) -> crate::error::Result<Reply> {
        let (path, _) = self
            .target
            .split_once('?')
            .unwrap_or((self.target.as_str(), ""));
        let segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decode_percent)
            .collect::<crate::error::Result<Vec<_>>>()?;
        let component = Component::new(segments, path.ends_with('/'));
        let connector = Arc::clone(&self.caller.connector);
        let access = self.caller.access.clone();
        let grant = access.of_path(&judged(OPERATIONS, &component), &self.method)?;
        let (operation, parameters) = find(OPERATIONS, "s", &self.method, &component)?;
        let operation = operation.name;
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let uri: Uri = format!("/api/v2/s/{}", self.target).parse().unwrap();
        let now = SystemClock.instant();
        let context = CallContext {
            id: RequestId::new(),
            received: now,
            deadline: now + TIMEOUT,
            client,
        };
        let call = Call {
            operation,
            parameters,
            component,
            grant,
            access,
            head: RequestHead {
                method: self.method,
                uri,
                headers: self.headers,
                client,
            },
            body: self.body,
            limits: CallLimits {
                max_body_bytes: MAX_BYTES,
            },
            neighbours: Arc::clone(&self.caller.neighbours),
        };
        connector.call(context, call).await
    }
}

/// An answer; an error as the envelope has it.
pub(super) struct Answer {
    about: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn refused_by(about: String, error: &Error) -> Self {
        let mut object = error_object(error);
        object["context"] = error
            .details()
            .map_or(Value::Null, |details| Value::Object(details.clone()));
        object["log"] = json!(format!("{error:?}"));
        Self {
            about,
            status: error.kind().status().as_u16(),
            headers: HeaderMap::new(),
            body: Bytes::from(json!({ "error": object }).to_string()),
        }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.about, self.text()))
    }

    /// The body of an answer that must be 200.
    #[track_caller]
    pub(super) fn ok_text(&self) -> &str {
        assert_eq!(self.status, 200, "{}: {}", self.about, self.text());
        self.text()
    }

    /// The document of an answer that must be 200.
    #[track_caller]
    pub(super) fn ok_json(&self) -> Value {
        self.ok_text();
        self.json()
    }

    /// The answer must be 200 with just this document.
    #[track_caller]
    pub(super) fn is(&self, expected: &Value) {
        assert_eq!(self.ok_json(), *expected, "{}", self.about);
    }

    /// One column of the records, which must be there.
    #[track_caller]
    pub(super) fn column(&self, name: &str) -> Vec<Value> {
        let document = self.ok_json();
        document["resource"]
            .as_array()
            .unwrap_or_else(|| panic!("{}: {}", self.about, self.text()))
            .iter()
            .map(|record| record[name].clone())
            .collect()
    }

    /// The answer must be this error. Gives the error object.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, kind: &str) -> Value {
        let document = self.json();
        let error = &document["error"];
        assert_eq!(
            (self.status, error["type"].as_str()),
            (status, Some(kind)),
            "{}: {}",
            self.about,
            self.text()
        );
        let message = error["message"].as_str().unwrap().to_ascii_lowercase();
        for word in [
            "select ",
            "insert into",
            "sqlstate",
            "syntax error",
            "where ",
        ] {
            assert!(
                !message.contains(word),
                "{}: the message shows SQL: {message}",
                self.about
            );
        }
        error.clone()
    }

    /// The answer must be a batch error. Gives its context.
    #[track_caller]
    pub(super) fn batch(&self, message: &str) -> Value {
        let error = self.refused(400, "batch_failed");
        assert_eq!(error["message"], message, "{}", self.about);
        error["context"].clone()
    }

    #[track_caller]
    pub(super) fn header(&self, name: &HeaderName) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("{} has no {name}: {}", self.about, self.text()))
            .to_str()
            .unwrap()
    }
}

/// A target with encoded query options.
pub(super) fn with(path: &str, options: &[(&str, &str)]) -> String {
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    format!("{path}?{}", options.join("&"))
}

/// A path segment or an option, percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `[1,2]` as values.
pub(super) fn values(list: impl Into<Value>) -> Vec<Value> {
    match list.into() {
        Value::Array(list) => list,
        other => panic!("{other} is not a list"),
    }
}
