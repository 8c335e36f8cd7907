//! What the closing line of a request says is what `tidegate explain` says of the same request on the same tree, and
//! both are what a second, plainer reading of the rows says.

#![cfg(feature = "sqlite")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::Gateway;
use crate::auth::key::KeyDigest;
use crate::auth::route::Question;
use crate::clock;
use crate::connector::{Call, Connector, Description, service_type};
use crate::error::Result;
use crate::exchange::{Body, CallContext, Reply};
use crate::manifest::secrets::Placeholders;
use crate::snapshot::assemble::{Assembly, settings};
use crate::snapshot::candidate::Candidate;
use crate::snapshot::documents::Documents;
use crate::snapshot::explain::{Case, Explanation};
use crate::snapshot::publish::{Attempt, Publisher};
use crate::snapshot::{Health, Revision, Service, Snapshot};
use crate::telemetry::metrics::{Metrics, ServiceMetrics};
use crate::tree::{Provenance, Tree};

/// Answers everything with 204.
struct Silent;

#[async_trait]
impl Connector for Silent {
    async fn call(self: Arc<Self>, _: CallContext, _: Call) -> Result<Reply> {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }
    async fn describe(&self) -> Result<Description> {
        Ok(Description::General)
    }
    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}

/// A row of a role, as a test writes it.
#[derive(Clone, Debug)]
struct Row {
    service: &'static str,
    component: &'static str,
    verbs: u8,
    deny: bool,
    is_for_scripts: bool,
}

/// The last three are not accepted.
const KEYS: [&str; 9] = [
    "good", "good", "good", "good", "roleless", "idle", "off", "late", "early",
];

const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

impl Row {
    fn lists(&self, verb: &str) -> bool {
        let bit = VERBS.iter().position(|known| *known == verb).unwrap();
        self.verbs & (1 << bit) != 0
    }

    fn toml(&self) -> String {
        let verbs: Vec<&str> = VERBS.into_iter().filter(|verb| self.lists(verb)).collect();
        let requester = if self.is_for_scripts { "script" } else { "api" };
        format!(
            "[[role.r.access]]\nservice = {:?}\ncomponent = {:?}\nverbs = {verbs:?}\ndeny = {}\nrequesters = [{requester:?}]\n",
            self.service, self.component, self.deny
        )
    }

    fn covers(&self, component: &str) -> bool {
        let (pattern, component) = (self.component.to_lowercase(), component.to_lowercase());
        match (pattern.strip_suffix("/*"), pattern.strip_suffix('*')) {
            (Some(stem), _) => component == stem || component.starts_with(&format!("{stem}/")),
            (None, Some(stem)) => component.starts_with(stem),
            (None, None) => component == pattern,
        }
    }

    /// Whether the row is one that grants a change of the schema, if that is one.
    fn may_grant(&self, component: &str, verb: &str) -> bool {
        let component = component.to_lowercase();
        let is_schema = component == "_schema" || component.starts_with("_schema/");
        !is_schema || verb == "GET" || self.component.to_lowercase().starts_with("_schema")
    }

    /// Larger is more specific.
    fn rank(&self) -> (bool, bool, usize) {
        let literal = self.component.trim_end_matches('*');
        let is_exact = literal == self.component;
        (self.service != "*", is_exact, literal.len())
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::sample::select(vec!["shop", "shop", "asleep", "*"]),
        prop::sample::select(vec![
            "",
            "*",
            "_table/*",
            "_table/a*",
            "_table/ab",
            "_table/ab/*",
            "_table/AB/*",
            "_table/ab/1",
            "_schema/*",
            "_schema",
        ]),
        1_u8..32,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
    );
    let row = row.prop_map(|(service, component, verbs, deny, is_for_scripts)| Row {
        service,
        component,
        verbs,
        deny,
        is_for_scripts,
    });
    prop::collection::vec(row, 0..7)
}

fn questions() -> impl Strategy<Value = Vec<(&'static str, String, &'static str)>> {
    let one = (
        prop::sample::select(vec![
            "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE",
        ]),
        prop::sample::select(vec![
            "shop",
            "shop",
            "SHOP",
            "asleep",
            "absent",
            "api_docs",
            "api_docs/shop",
            "api_docs/absent",
        ]),
        prop::sample::select(vec![
            "",
            "_table",
            "_table/ab",
            "_table/aB/1",
            "_table/ab/1?method=DELETE",
            "_table/abc",
            "_schema/ab",
            "_schema/ab/_field",
            "_nothing",
        ]),
        prop::sample::select(KEYS.to_vec()),
    );
    let one = one.prop_map(|(method, service, component, key)| {
        let path = match (service.starts_with("api_docs"), component) {
            (true, _) | (_, "") => format!("/api/v2/{service}"),
            (false, component) => format!("/api/v2/{service}/{component}"),
        };
        (method, path, key)
    });
    prop::collection::vec(one, 1..12)
}

fn candidate(rows: &[Row]) -> Candidate {
    let mut text = String::from(
        "[service.shop]\ntype = \"sqlite\"\nconfig.database = \":memory:\"\n\
         [service.asleep]\ntype = \"sqlite\"\nactive = false\nconfig.database = \":memory:\"\n\
         [role.r]\n[role.idle]\nactive = false\n",
    );
    for (name, more) in [
        ("good", "role = \"r\""),
        ("roleless", ""),
        ("idle", "role = \"idle\""),
        ("off", "role = \"r\"\nactive = false"),
        ("late", "role = \"r\"\nexpires = 2020-01-01T00:00:00Z"),
        ("early", "role = \"r\"\nnot_before = 2999-01-01T00:00:00Z"),
    ] {
        let digest = KeyDigest::of(name);
        writeln!(text, "[key.{name}]\nsha256 = [\"{digest}\"]\n{more}").unwrap();
    }
    text.extend(rows.iter().map(Row::toml));
    let files = [("a.toml".to_owned(), text.into_bytes())];
    let tree = Tree::new("", files, Provenance::default());
    Candidate::of(tree, &Placeholders).unwrap_or_else(|problems| panic!("{problems}"))
}

fn gateway(candidate: &Candidate) -> Gateway {
    let Candidate { tree, set, configs } = candidate;
    let services = set.services.iter().map(|(name, service)| {
        let service = Service {
            name: name.clone(),
            label: String::new(),
            description: String::new(),
            kind: service_type("sqlite").unwrap(),
            is_active: service.value.active,
            declared: Arc::clone(service),
            config: Arc::clone(&configs.services[name.as_str()]),
            connector: Arc::new(Silent),
            health: Arc::new(Health::default()),
            lease: Arc::default(),
            metrics: ServiceMetrics::default(),
        };
        (name.clone(), Arc::new(service))
    });
    let now = clock::system().now();
    let snapshot = Snapshot {
        revision: Revision::new(1, tree.digest().to_string(), None, None, now),
        services: services.collect(),
        applications: Assembly::default().applications(set),
        settings: settings(&set.gateway),
        documents: Documents::default(),
        last_good: None,
    };
    let attempt = Attempt {
        at: now,
        outcome: "applied",
        problems: Vec::new(),
    };
    let (_, reader) = Publisher::new(Arc::new(snapshot), attempt);
    Gateway::new(reader, clock::system(), Arc::new(Metrics::default()))
}

/// Keeps the fields of the last closing line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<BTreeMap<String, String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Fields(BTreeMap<String, String>);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name().to_owned(), value.to_owned());
            }
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name().to_owned(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        if fields
            .0
            .get("message")
            .is_some_and(|message| message == "request")
        {
            *self.0.lock().unwrap() = fields.0;
        }
    }
}

/// The closing line of one request, and the status of its answer.
fn served(gateway: &Gateway, question: &Question, key: &str) -> (BTreeMap<String, String>, u16) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_str(key).unwrap());
    let request = gateway.handle(
        question.sent().clone(),
        question.path().parse().unwrap(),
        headers,
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        Body::Empty,
    );
    let reply = tracing::subscriber::with_default(subscriber, || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(request)
    });
    let line = lines.0.lock().unwrap().clone();
    (line, reply.status.as_u16())
}

fn explained(candidate: &Candidate, question: &Question, key: &str) -> Explanation {
    let now = clock::system().now();
    Case::new(&candidate.set, &candidate.configs, key, question, Some(now))
        .unwrap()
        .explain()
}

/// What the rows say of a call, read without any of the program's own code.
fn plainly(rows: &[Row], service: &str, component: &str, verb: &str) -> &'static str {
    let concerned: Vec<&Row> = rows
        .iter()
        .filter(|row| !row.is_for_scripts && (row.service == "*" || row.service == service))
        .filter(|row| row.covers(component) && (!row.deny || row.lists(verb)))
        .collect();
    let Some(top) = concerned.iter().map(|row| row.rank()).max() else {
        return "no_row";
    };
    let top: Vec<&&Row> = concerned.iter().filter(|row| row.rank() == top).collect();
    if top.iter().any(|row| row.deny) {
        "denied_by_row"
    } else if top
        .iter()
        .any(|row| row.lists(verb) && row.may_grant(component, verb))
    {
        "granted"
    } else {
        "verb_not_granted"
    }
}

/// The index of a row by its position: the manifests above it have a fixed number of lines.
fn index_of(candidate: &Candidate, position: &str) -> usize {
    let (_, role) = candidate.set.roles.get_key_value("r").unwrap();
    let mut rows = role.value.rows.iter();
    rows.position(|row| row.rule.position.as_ref() == position)
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_audit_line_the_explanation_and_the_rows_agree(rows in rows(), questions in questions()) {
        let candidate = candidate(&rows);
        let gateway = gateway(&candidate);
        for (method, path, key) in questions {
            let question = Question::new(method, &path).unwrap();
            let explanation = explained(&candidate, &question, key);
            let (line, status) = served(&gateway, &question, key);
            let field = |name: &str| line.get(name).map(String::as_str);
            prop_assert_eq!(field("decision"), Some(explanation.decision), "{} {}", question, key);
            prop_assert_eq!(field("reason"), Some(explanation.reason), "{} {}", question, key);
            prop_assert_eq!(field("rule"), explanation.rule.as_deref(), "{} {}", question, key);
            // Nobody is known by a key that is not accepted.
            if !matches!(key, "off" | "late" | "early") {
                let role = explanation.role.as_ref().map(|role| role.name.as_str());
                prop_assert_eq!(field("role.name"), role);
            }
            match &explanation.answer {
                Some(answer) => prop_assert_eq!(status, answer.status),
                None => prop_assert!(status < 300, "{} is {}", question, status),
            }
            let decider = explanation.rows.iter().find(|row| row.part == "decides");
            prop_assert_eq!(decider.map(|row| &row.position), explanation.rule.as_ref());

            let (Some(component), "good") = (question.component(), key) else {
                continue;
            };
            if explanation.request.judged_as == "OPTIONS" {
                continue;
            }
            let service = question.service().unwrap();
            let verb = explanation.request.judged_as;
            let plain = plainly(&rows, service, component.as_str(), verb);
            match explanation.reason {
                "method_not_allowed" => {}
                // A resource that is not there is said to whoever may use it.
                "unknown_resource" => prop_assert!(plain != "no_row"),
                "service_deactivated" | "unknown_service" => prop_assert_eq!(plain, "granted"),
                reason => prop_assert_eq!(reason, plain, "{} {:?}", question, rows),
            }
        }
    }

    #[test]
    fn the_row_that_decides_gives_the_same_answer_alone(rows in rows(), questions in questions()) {
        let candidate = candidate(&rows);
        for (method, path, key) in questions {
            let question = Question::new(method, &path).unwrap();
            let explanation = explained(&candidate, &question, key);
            if let Some(rule) = &explanation.rule {
                let row = &rows[index_of(&candidate, rule)];
                let alone = explained(&self::candidate(std::slice::from_ref(row)), &question, key);
                prop_assert_eq!(alone.decision, explanation.decision);
                // Whether a method that nothing takes is 405 depends on the other verbs, which other rows can deny.
                if explanation.operation.is_some() {
                    prop_assert_eq!(alone.reason, explanation.reason, "{} {:?}", question, rows);
                }
            }
        }
    }

    #[test]
    fn the_order_of_rows_changes_no_decision(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        questions in questions(),
    ) {
        let (one, other) = (candidate(&rows), candidate(&shuffled));
        for (method, path, key) in questions {
            let question = Question::new(method, &path).unwrap();
            let mut explanations = [&one, &other].map(|candidate| explained(candidate, &question, key));
            for explanation in &mut explanations {
                // Positions move with the rows; what the rows say does not.
                explanation.rule = None;
                explanation.at = None;
                explanation.because.clear();
                explanation.rows.retain(|row| row.part == "decides");
                for row in &mut explanation.rows {
                    row.position.clear();
                }
            }
            let [one, other] = explanations.map(|explanation| serde_json::to_string(&explanation).unwrap());
            prop_assert_eq!(one, other);
        }
    }
}
