//! Access rows: as a role writes them, and compiled into the rules that connectors ask. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::connector::access::{Pattern, Rule, Verbs};
use crate::connector::filter;
use crate::names::{RoleName, ServiceName};

/// A verb that a role can grant. `GET` includes `HEAD`; `OPTIONS` needs no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Reads.
    Get,
    /// Creates, and starts what runs.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
    /// Deletes.
    Delete,
}

impl Verb {
    /// The set of this verb alone.
    pub fn verbs(self) -> Verbs {
        Verbs::of(&match self {
            Self::Get => http::Method::GET,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
            Self::Patch => http::Method::PATCH,
            Self::Delete => http::Method::DELETE,
        })
    }
}

/// From where a call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Requester {
    /// A client, over the network.
    Api,
    /// A script that the gateway runs.
    Script,
}

/// One row of a role: a service, a part of it, and what may be done there.
///
/// The most specific matching row decides: one that names the service before one for `*`, then an exact component,
/// then the longest one. Rows of equal specificity are united, and `deny` wins among them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRow {
    /// The service, or `*` for every service.
    #[schemars(example = "*")]
    pub service: String,
    /// The part of the service: `*` everything, an empty text the root alone, `_table/album` one table's
    /// collection, `_table/album/*` the collection and its records, `_table/al*` everything that begins so.
    #[schemars(example = "_table/*")]
    pub component: String,
    /// The verbs that the row grants, or denies with `deny = true`.
    #[schemars(length(min = 1))]
    pub verbs: Vec<Verb>,
    /// Whose calls the row concerns. Default: `["api"]`.
    #[serde(default = "default_requesters")]
    #[schemars(length(min = 1))]
    pub requesters: Vec<Requester>,
    /// Only the records that satisfy this filter can be read or written: `owner = {user.email}`. A lookup in braces
    /// is bound for each call; one that has no value lets nothing through.
    pub filter: Option<String>,
    /// Only these columns exist for the caller: in reading, writing, filtering and ordering; a key of which a part is
    /// missing here is no key. What a write answers, and what it is filtered by, is what the row for GET admits.
    #[schemars(length(min = 1))]
    pub fields: Option<Vec<String>>,
    /// Denies the verbs instead of granting them. Default: false.
    #[serde(default)]
    pub deny: bool,
}

fn default_requesters() -> Vec<Requester> {
    vec![Requester::Api]
}

/// What is wrong with a row beyond its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// The key of the row that is wrong.
    pub key: &'static str,
    /// Characters of the key's text before the place; none for the whole.
    pub position: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A row, compiled.
#[derive(Clone, Debug)]
pub struct CompiledRow {
    /// The service; none for `*`.
    pub service: Option<ServiceName>,
    /// Whose calls it concerns.
    pub requesters: Vec<Requester>,
    /// What it says.
    pub rule: Rule,
    /// The filter as it was written, without spaces around it.
    filter_text: Option<String>,
}

impl CompiledRow {
    /// The filter as it was written, without spaces around it.
    pub fn filter_text(&self) -> Option<&str> {
        self.filter_text.as_deref()
    }

    /// The service as it was written: a name or `*`.
    pub fn service_text(&self) -> &str {
        self.service.as_ref().map_or("*", ServiceName::as_str)
    }

    /// Whether the row concerns calls of `requester` to `service`.
    pub fn concerns(&self, service: &str, requester: Requester) -> bool {
        self.requesters.contains(&requester)
            && self
                .service
                .as_ref()
                .is_none_or(|name| name.as_str() == service)
    }
}

/// Compiles a row. `position` says where it stands: `roles.toml:12`.
///
/// Fails with everything that is wrong with it; whether the service exists is not looked at.
pub fn compile(row: &AccessRow, position: Arc<str>) -> Result<CompiledRow, Vec<RowProblem>> {
    let mut problems = Vec::new();
    let mut problem = |key, position, message: String, help: Option<String>| {
        problems.push(RowProblem {
            key,
            position,
            message,
            help,
        });
    };
    let service = match row.service.as_str() {
        "*" => None,
        name => match name.parse::<ServiceName>() {
            Ok(name) => Some(name),
            Err(error) => {
                let help = "name a service, or write \"*\" for all of them".to_owned();
                problem("service", None, error.to_string(), Some(help));
                None
            }
        },
    };
    let pattern = match Pattern::parse(&row.component) {
        Ok(pattern) => Some(pattern),
        Err(message) => {
            let help = "a `*` stands at the end: \"_table/*\", \"_table/album/*\", \"_table/al*\"";
            problem("component", None, message, Some(help.to_owned()));
            None
        }
    };
    let filter_text = row.filter.as_deref().map(str::trim);
    let filter = row.filter.as_deref().and_then(|text| {
        filter::parse_role(text)
            .map_err(|error| {
                problem("filter", Some(error.position), error.message, error.help);
            })
            .ok()
    });
    if row.deny {
        for (key, there) in [
            ("filter", row.filter.is_some()),
            ("fields", row.fields.is_some()),
        ] {
            if there {
                problem(
                    key,
                    None,
                    format!("a row with `deny = true` cannot have `{key}`"),
                    Some(format!(
                        "remove `{key}`: a denied verb is denied for all records and columns"
                    )),
                );
            }
        }
    }
    match pattern {
        Some(pattern) if problems.is_empty() => Ok(CompiledRow {
            rule: Rule {
                names_service: service.is_some(),
                pattern,
                verbs: row
                    .verbs
                    .iter()
                    .map(|verb| verb.verbs())
                    .fold(Verbs::NONE, Verbs::union),
                deny: row.deny,
                filter: filter.map(Arc::new),
                fields: row
                    .fields
                    .as_ref()
                    .map(|fields| Arc::new(fields.iter().cloned().collect::<BTreeSet<_>>())),
                position,
            },
            service,
            requesters: row.requesters.clone(),
            filter_text: filter_text.map(str::to_owned),
        }),
        _ => Err(problems),
    }
}

/// Two rows of one role that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The index of the row that comes first.
    pub first: usize,
    /// The index of the other.
    pub second: usize,
    /// The verbs that both grant.
    pub verbs: Vec<&'static str>,
    /// The key in which they differ: `filter` or `fields`.
    pub key: &'static str,
}

/// Rows of equal specificity that grant the same verb with different conditions: nobody could say which holds.
pub fn conflicts(rows: &[CompiledRow]) -> Vec<Conflict> {
    // Only rows for the same component of the same service are compared: a role may have a row for each of many services.
    let mut alike = HashMap::<_, Vec<(usize, &CompiledRow)>>::new();
    let mut found = Vec::new();
    for (second, later) in rows.iter().enumerate() {
        let group = alike
            .entry((later.service.as_ref(), &later.rule.pattern))
            .or_default();
        for (first, earlier) in group.iter() {
            found.extend(conflict((*first, earlier), (second, later)));
        }
        group.push((second, later));
    }
    found
}

/// What contradicts in two rows for the same component of the same service.
fn conflict(
    (first, earlier): (usize, &CompiledRow),
    (second, later): (usize, &CompiledRow),
) -> Option<Conflict> {
    let comparable = !earlier.rule.deny
        && !later.rule.deny
        && earlier.rule.verbs.overlap(later.rule.verbs)
        && earlier
            .requesters
            .iter()
            .any(|requester| later.requesters.contains(requester));
    if !comparable {
        return None;
    }
    let key = if earlier.filter_text != later.filter_text {
        "filter"
    } else if earlier.rule.fields != later.rule.fields {
        "fields"
    } else {
        return None;
    };
    Some(Conflict {
        first,
        second,
        verbs: earlier
            .rule
            .verbs
            .names()
            .filter(|name| later.rule.verbs.names().any(|other| other == *name))
            .collect(),
        key,
    })
}

/// A role, compiled.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it grants anything at present.
    pub active: bool,
    /// Its rows, in the order of the manifest.
    pub rows: Vec<CompiledRow>,
}

impl Role {
    /// The rules for calls of `requester`: for each service that a row names, those for every service included, and for
    /// every other service. An inactive role has none.
    pub fn rules_by_service(
        &self,
        requester: Requester,
    ) -> (BTreeMap<ServiceName, Vec<Rule>>, Vec<Rule>) {
        let mut named: BTreeMap<ServiceName, Vec<Rule>> = BTreeMap::new();
        let mut others = Vec::new();
        let rows = self.rows.iter();
        for row in rows.filter(|row| self.active && row.requesters.contains(&requester)) {
            match &row.service {
                Some(service) => named
                    .entry(service.clone())
                    .or_default()
                    .push(row.rule.clone()),
                None => others.push(row.rule.clone()),
            }
        }
        for rules in named.values_mut() {
            rules.extend(others.iter().cloned());
        }
        (named, others)
    }

    /// The rules for calls of `requester` to `service`, whether or not the service exists. An inactive role has none.
    pub fn rules(&self, service: &str, requester: Requester) -> Vec<Rule> {
        self.rows
            .iter()
            .filter(|row| self.active && row.concerns(service, requester))
            .map(|row| row.rule.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::access::Access;
    use http::Method;

    fn row(toml: &str) -> AccessRow {
        toml::from_str(toml).unwrap()
    }

    fn compiled(toml: &str) -> CompiledRow {
        compile(&row(toml), Arc::from("roles.toml:1")).unwrap()
    }

    fn problems(toml: &str) -> Vec<(&'static str, Option<usize>)> {
        compile(&row(toml), Arc::from(""))
            .unwrap_err()
            .into_iter()
            .map(|problem| (problem.key, problem.position))
            .collect()
    }

    fn role(rows: &[&str]) -> Role {
        Role {
            name: "r".parse().unwrap(),
            description: None,
            active: true,
            rows: rows.iter().map(|toml| compiled(toml)).collect(),
        }
    }

    #[test]
    fn a_row_becomes_the_rule_it_says() {
        let role = role(&[r#"
            service = "chinook"
            component = "_table/*"
            verbs = ["GET", "PATCH"]
            fields = ["title", "album_id"]
        "#]);
        let rules = role.rules("chinook", Requester::Api);
        let access = Access::new("r", "chinook", rules, Arc::default());
        let grant = access.of("_table/album", &Method::GET).unwrap();
        assert_eq!(grant.position.as_ref(), "roles.toml:1");
        assert!(grant.admits_field("title") && !grant.admits_field("price"));
        assert!(access.of("_table/album", &Method::DELETE).is_err());
        assert!(role.rules("other", Requester::Api).is_empty());
    }

    #[test]
    fn a_row_for_scripts_gives_callers_nothing() {
        let role = role(&[r#"service = "*"
               component = "*"
               verbs = ["GET"]
               requesters = ["script"]"#]);
        assert!(role.rules("chinook", Requester::Api).is_empty());
        assert_eq!(role.rules("chinook", Requester::Script).len(), 1);
    }

    #[test]
    fn rules_are_kept_for_the_services_that_rows_name_and_for_all_others_together() {
        let text = |service: &str, component: &str| {
            format!("service = \"{service}\"\ncomponent = \"{component}\"\nverbs = [\"GET\"]")
        };
        let rows = [
            text("a", "_table/a"),
            text("*", "_table/all"),
            text("b", "_table/b"),
            text("a", "_table/c"),
        ];
        let role = role(&rows.each_ref().map(String::as_str));
        let (named, others) = role.rules_by_service(Requester::Api);
        let said = |rules: &[Rule]| {
            let mut said: Vec<String> = rules
                .iter()
                .map(|rule| format!("{:?}", rule.pattern))
                .collect();
            said.sort();
            said
        };
        assert_eq!(named.len(), 2);
        for service in ["a", "b"] {
            assert_eq!(
                said(&named[service]),
                said(&role.rules(service, Requester::Api))
            );
        }
        assert_eq!(said(&others), said(&role.rules("c", Requester::Api)));
        assert_eq!((named["a"].len(), others.len()), (3, 1));
        assert!(role.rules_by_service(Requester::Script).0.is_empty());
    }

    #[test]
    fn an_inactive_role_gives_nothing() {
        let mut role = role(&[r#"service = "*"
               component = "*"
               verbs = ["GET"]"#]);
        assert_eq!(role.rules("chinook", Requester::Api).len(), 1);
        role.active = false;
        assert!(role.rules("chinook", Requester::Api).is_empty());
    }

    #[test]
    fn everything_wrong_with_a_row_is_said_at_once() {
        let found = problems(
            r#"
            service = "No Name"
            component = "_table/*/x"
            verbs = ["GET"]
            filter = "owner"
            fields = ["a"]
            deny = true
        "#,
        );
        let keys: Vec<_> = found.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["service", "component", "filter", "filter", "fields"]);
        assert_eq!(found[2].1, Some(5), "the filter's own position is kept");
    }

    #[test]
    fn equal_rows_with_different_conditions_contradict_each_other() {
        let base = "service = \"s\"\ncomponent = \"_table/a/*\"\n";
        let rows = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| compiled(&format!("{base}{text}")))
                .collect::<Vec<_>>()
        };
        let found = conflicts(&rows(&[
            "verbs = [\"GET\", \"POST\"]\nfilter = \"a = 1\"",
            "verbs = [\"GET\"]\nfilter = \"a = 2\"",
        ]));
        assert_eq!(
            found,
            [Conflict {
                first: 0,
                second: 1,
                verbs: vec!["GET"],
                key: "filter"
            }]
        );
        for harmless in [
            [
                "verbs = [\"GET\"]\nfilter = \"a = 1\"",
                "verbs = [\"POST\"]",
            ],
            [
                "verbs = [\"GET\"]\nfilter = \"a = 1\"",
                "verbs = [\"GET\"]\nfilter = \" a = 1 \"",
            ],
            [
                "verbs = [\"GET\"]\nfilter = \"a = 1\"",
                "verbs = [\"GET\"]\ndeny = true",
            ],
            [
                "verbs = [\"GET\"]\nfilter = \"a = 1\"",
                "verbs = [\"GET\"]\nrequesters = [\"script\"]",
            ],
        ] {
            assert_eq!(conflicts(&rows(&harmless)), [], "{harmless:?}");
        }
        let found = conflicts(&rows(&[
            "verbs = [\"GET\"]\nfields = [\"a\"]",
            "verbs = [\"GET\"]",
        ]));
        assert_eq!(found[0].key, "fields");
    }
}
