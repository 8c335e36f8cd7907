//! The lists of a database: its resources, tables and descriptions. Pure.

use http::Method;
use serde_json::{Map, Value, json};

use super::catalog::{Catalog, RoutineKind, Table};
use super::operations::component_of;
use super::routine::routine_verbs;
use super::schema::SchemaView;
use crate::connector::access::Access;
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::exchange::Query;
use crate::exchange::query::truth;

/// The sub-resources of a database, in the order of the reference.
const RESOURCES: [(&str, &str); 4] = [
    ("_schema", "Schema"),
    ("_table", "Tables"),
    ("_proc", "Procedures"),
    ("_func", "Functions"),
];

/// What the query string of a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the interface and stands alone"
)]
pub(super) struct ListingQuery {
    /// `fields` names more than the name.
    pub(super) is_full: bool,
    /// `ids`: only these.
    pub(super) ids: Option<Vec<String>>,
    /// `schema`: only what lives there.
    pub(super) schema: Option<String>,
    /// `as_list`
    pub(super) as_list: bool,
    /// `id_field`: the member that `as_list` shows.
    pub(super) id_field: Option<String>,
    /// `as_access_list`
    pub(super) as_access_list: bool,
    /// `include_access`
    pub(super) include_access: bool,
    /// `refresh`
    pub(super) refresh: bool,
}

/// Options that a list takes.
const OPTIONS: [&str; 8] = [
    "fields",
    "ids",
    "schema",
    "as_list",
    "id_field",
    "as_access_list",
    "include_access",
    "refresh",
];

/// Options of the gateway itself, which every resource takes.
pub(super) const GATEWAY_OPTIONS: [&str; 8] = [
    "accept",
    "api_key",
    "session_token",
    "method",
    "wrap",
    "file",
    "_",
    "include_count",
];

impl ListingQuery {
    /// Reads the query string; an option that lists do not take is 400.
    pub(super) fn parse(query: &Query) -> Result<Self> {
        let mut listing = Self::default();
        for (name, value) in query.pairs() {
            match name {
                "fields" => listing.is_full = !matches!(value, "" | "name"),
                "ids" => {
                    listing.ids = Some(
                        value
                            .split(',')
                            .map(str::trim)
                            .filter(|id| !id.is_empty())
                            .map(str::to_owned)
                            .collect(),
                    );
                }
                "schema" => listing.schema = (!value.is_empty()).then(|| value.to_owned()),
                "id_field" => listing.id_field = (!value.is_empty()).then(|| value.to_owned()),
                "as_list" => listing.as_list = flag(name, value)?,
                "as_access_list" => listing.as_access_list = flag(name, value)?,
                "include_access" => listing.include_access = flag(name, value)?,
                "refresh" => listing.refresh = flag(name, value)?,
                other if GATEWAY_OPTIONS.contains(&other) => {}
                other => {
                    let error = Error::new(
                        ErrorKind::UnknownParameter,
                        format!("unknown option '{}'", brief(other)),
                    );
                    return Err(match nearest(other, OPTIONS) {
                        Some(near) => error.with_help(format!("did you mean '{near}'?")),
                        None => error.with_help(format!("lists take {}", OPTIONS.join(", "))),
                    });
                }
            }
        }
        Ok(listing)
    }

    fn admits(&self, table: &Table, family: &str) -> bool {
        let in_schema = self.schema.as_ref().is_none_or(|schema| {
            table.schema.as_deref() == Some(schema)
                || table
                    .name_in(family)
                    .strip_prefix(schema.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        let is_named = self.ids.as_ref().is_none_or(|ids| {
            let name = table.name_in(family);
            ids.iter().any(|id| id.eq_ignore_ascii_case(name))
        });
        in_schema && is_named
    }

    /// One list of entries, or of a single member of each.
    pub(super) fn list(&self, entries: impl Iterator<Item = Map<String, Value>>) -> Value {
        let list: Vec<Value> = if self.as_list {
            let member = self.id_field.as_deref().unwrap_or("name");
            entries
                .filter_map(|mut entry| entry.shift_remove(member))
                .collect()
        } else {
            entries.map(Value::Object).collect()
        };
        json!({ "resource": list })
    }
}

fn flag(name: &str, value: &str) -> Result<bool> {
    truth(value).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidParameter,
            format!(
                "option '{name}' must be true or false, not '{}'",
                brief(value)
            ),
        )
    })
}

fn name_entry(name: &str) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("name".into(), json!(name));
    entry
}

/// The tables under `_table` or `_schema` that the caller may touch in some way.
pub(super) fn tables(view: &SchemaView<'_>, family: &str, query: &ListingQuery) -> Value {
    query.list(
        view.catalog
            .tables()
            .filter(|table| query.admits(table, family))
            .filter_map(|table| {
                let name = table.name_in(family);
                let verbs = view.access.verbs(&component_of(family, name));
                if verbs.is_empty() {
                    return None;
                }
                let mut entry = if query.is_full {
                    view.entry(table, family)
                } else {
                    name_entry(name)
                };
                if query.include_access || query.is_full {
                    entry.insert("access".into(), verbs.names().collect());
                }
                Some(entry)
            }),
    )
}

/// The descriptions of the tables in `ids`; unknown ones are 404, forbidden ones 403.
pub(super) fn descriptions(
    view: &SchemaView<'_>,
    ids: &[String],
    query: &ListingQuery,
) -> Result<Value> {
    let mut entries = Vec::with_capacity(ids.len());
    for id in ids {
        let table = view.catalog.described(id, |name| {
            !view.access.verbs(&component_of("_schema", name)).is_empty()
        })?;
        let grant = view
            .access
            .of(&component_of("_schema", table.own_name()), &Method::GET)?;
        match view.table(table, Some(&grant)) {
            Value::Object(entry) => entries.push(entry),
            _ => return Err(Error::internal("a description is not an object")),
        }
    }
    Ok(query.list(entries.into_iter()))
}

/// Descriptions by name, or the names alone; `ids` picks some.
pub(super) fn named_list(descriptions: Vec<(String, Value)>, query: &ListingQuery) -> Value {
    query.list(
        descriptions
            .into_iter()
            .filter(|(name, _)| {
                query
                    .ids
                    .as_ref()
                    .is_none_or(|ids| ids.iter().any(|id| id.eq_ignore_ascii_case(name)))
            })
            .filter_map(|(_, description)| match description {
                Value::Object(entry) => Some(entry),
                _ => None,
            }),
    )
}

/// What is known of a database, for the list of its resources.
pub(super) struct Known<'a> {
    /// Its tables and routines.
    pub(super) catalog: &'a Catalog,
    /// Whether the product has procedures and functions.
    pub(super) has_routines: bool,
}

impl<'a> Known<'a> {
    fn resources(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let has_routines = self.has_routines;
        RESOURCES
            .into_iter()
            .filter(move |(name, _)| has_routines || kind_of(name).is_none())
    }

    /// The names below one of the resources that the caller may touch.
    fn names(&self, access: &Access, family: &str) -> Vec<&'a str> {
        match kind_of(family) {
            None => self
                .catalog
                .tables()
                .map(|table| table.name_in(family))
                .filter(|table| !access.verbs(&component_of(family, table)).is_empty())
                .collect(),
            Some(kind) => self
                .catalog
                .routines()
                .of(kind)
                .map(|(name, _)| name)
                .filter(|name| !routine_verbs(access, kind, name).is_empty())
                .collect(),
        }
    }
}

/// The kind of routines in a resource.
fn kind_of(family: &str) -> Option<RoutineKind> {
    [RoutineKind::Procedure, RoutineKind::Function]
        .into_iter()
        .find(|kind| kind.family() == family)
}

/// What lies below the service root. A role may reach `_table` through a single table.
pub(super) fn root(access: &Access, known: &Known<'_>, query: &ListingQuery) -> Value {
    if query.as_access_list {
        return access_list(access, known);
    }
    query.list(known.resources().filter_map(|(name, label)| {
        let verbs = access.verbs(name);
        let is_reachable = !verbs.is_empty() || !known.names(access, name).is_empty();
        if !is_reachable
            || query
                .ids
                .as_ref()
                .is_some_and(|ids| !ids.iter().any(|id| id == name))
        {
            return None;
        }
        let mut entry = name_entry(name);
        if query.is_full {
            entry.insert("label".into(), json!(label));
        }
        if query.include_access {
            entry.insert("access".into(), verbs.names().collect());
        }
        Some(entry)
    }))
}

/// Every component that a role could name, as far as the caller may know of it.
fn access_list(access: &Access, known: &Known<'_>) -> Value {
    if access.is_empty() {
        return json!({ "resource": [] });
    }
    let mut components = vec![String::new(), "*".to_owned()];
    for (family, _) in known.resources() {
        let names = known.names(access, family);
        if names.is_empty() && access.verbs(family).is_empty() {
            continue;
        }
        components.push(format!("{family}/"));
        components.push(format!("{family}/*"));
        for name in names {
            let component = component_of(family, name);
            if kind_of(family).is_some() {
                // Nothing lies below a routine.
                components.push(component);
            } else {
                components.push(format!("{component}/"));
                components.push(format!("{component}/*"));
            }
        }
    }
    json!({ "resource": components })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::access::{Pattern, Rule, Verbs};
    use crate::connector::database::catalog::Catalog;
    use std::sync::Arc;

    fn access(rules: &[(&str, Verbs)]) -> Access {
        let rules: Vec<Rule> = rules
            .iter()
            .map(|(pattern, verbs)| Rule {
                names_service: true,
                pattern: Pattern::parse(pattern).unwrap(),
                verbs: *verbs,
                deny: false,
                filter: None,
                fields: None,
                position: Arc::from(*pattern),
            })
            .collect();
        Access::new("r", "s", rules, Arc::default())
    }

    fn catalog() -> Catalog {
        Catalog::new(
            ["customer", "invoice", "sales.order"]
                .map(|name| Table {
                    name: name.into(),
                    native: name.into(),
                    schema: name.split_once('.').map(|(schema, _)| schema.to_owned()),
                    ..Table::default()
                })
                .into(),
        )
    }

    fn listed(access: &Access, query: &str) -> Value {
        let catalog = catalog();
        let view = SchemaView {
            catalog: &catalog,
            access,
        };
        let query = ListingQuery::parse(&Query::parse(query).unwrap()).unwrap();
        tables(&view, "_table", &query)
    }

    #[test]
    fn tables_are_listed_as_far_as_the_caller_may_touch_them() {
        let all = access(&[("*", Verbs::ALL)]);
        assert_eq!(
            listed(&all, ""),
            json!({"resource": [{"name": "customer"}, {"name": "invoice"}, {"name": "sales.order"}]})
        );
        assert_eq!(
            listed(&all, "as_list=true&ids=INVOICE,none"),
            json!({"resource": ["invoice"]})
        );
        assert_eq!(
            listed(&all, "schema=sales&as_list"),
            json!({"resource": ["sales.order"]})
        );
        let one = access(&[("_table/customer", Verbs::of(&Method::POST))]);
        assert_eq!(
            listed(&one, "include_access=true"),
            json!({"resource": [{"name": "customer", "access": ["POST"]}]})
        );
    }

    #[test]
    fn the_root_lists_what_can_be_reached() {
        let query = |text: &str| ListingQuery::parse(&Query::parse(text).unwrap()).unwrap();
        let catalog = Catalog::new(vec![Table {
            name: "customer".into(),
            ..Table::default()
        }]);
        let known = Known {
            catalog: &catalog,
            has_routines: false,
        };
        let one = access(&[("", Verbs::ALL), ("_table/customer", Verbs::ALL)]);
        assert_eq!(
            root(&one, &known, &query("as_list=1")),
            json!({"resource": ["_table"]})
        );
        let all = access(&[("*", Verbs::ALL)]);
        assert_eq!(
            root(&all, &known, &query("as_access_list=true")),
            json!({"resource": ["", "*", "_schema/", "_schema/*", "_schema/customer/", "_schema/customer/*",
                "_table/", "_table/*", "_table/customer/", "_table/customer/*"]})
        );
    }

    #[test]
    fn unknown_options_are_refused_with_the_nearest_one() {
        let error = ListingQuery::parse(&Query::parse("as_lst=true").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownParameter);
        assert_eq!(error.help(), Some("did you mean 'as_list'?"));
        assert!(ListingQuery::parse(&Query::parse("as_list=perhaps").unwrap()).is_err());
        assert!(ListingQuery::parse(&Query::parse("api_key=x&_=1").unwrap()).is_ok());
    }
}
