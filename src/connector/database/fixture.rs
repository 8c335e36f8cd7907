//! Tables, roles and queries for the tests of the planner and of the SQL.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::catalog::{Catalog, Column, DefaultValue, ForeignKey, Table, Type};
use super::options::DatabaseOptions;
use super::planner::Planner;
use super::request::{FieldItem, Fields, OrderItem, Record, RecordsQuery, RelatedRequest};
use crate::connector::access::{Access, Grant, Lookups, Pattern, Rule, Verbs};
use crate::connector::filter::{self, Filter};

/// What the tables below are in SQLite.
#[cfg(feature = "sqlite")]
pub(super) const SQLITE: &str = r#"
CREATE TABLE customer (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE, full_name TEXT, is_active BOOLEAN NOT NULL DEFAULT 1, credit DECIMAL(12,2), created_at TIMESTAMPTZ, "we""ird" TEXT);
CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer, number TEXT NOT NULL, total DECIMAL(12,2) NOT NULL, issued_on DATE, note JSON, paid_at DATETIME);
CREATE TABLE tag (id INTEGER PRIMARY KEY, label TEXT NOT NULL);
CREATE TABLE invoice_tag (invoice_id INTEGER NOT NULL REFERENCES invoice, tag_id INTEGER NOT NULL REFERENCES tag, PRIMARY KEY (invoice_id, tag_id));
CREATE TABLE line (invoice_id INTEGER NOT NULL REFERENCES invoice, position INTEGER NOT NULL, product TEXT, raw BLOB, uid UUID, doubled INTEGER GENERATED ALWAYS AS (position * 2), PRIMARY KEY (invoice_id, position));
CREATE TABLE delivery (id INTEGER PRIMARY KEY, invoice_id INTEGER NOT NULL, position INTEGER NOT NULL, FOREIGN KEY (invoice_id, position) REFERENCES line (invoice_id, position));
CREATE TABLE employee (id INTEGER PRIMARY KEY, manager_id INTEGER REFERENCES employee, name TEXT NOT NULL);
CREATE TABLE secret (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer, value TEXT);
CREATE VIEW report AS SELECT customer_id, sum(total) AS total FROM invoice GROUP BY customer_id;
INSERT INTO customer VALUES (1, 'ann@example.org', 'Ann', 1, 12.5, '2026-02-01 10:00:00Z', 'a'), (2, 'bo@example.org', 'Bo', 0, NULL, '2026-02-01T11:30:00+01:00', NULL), (3, 'cy@example.org', NULL, 1, 0.1, NULL, '%_\');
INSERT INTO invoice VALUES (10, 1, 'A-10', 99.5, '2026-02-01', '{"a": 1.10}', '2026-02-02T00:00:00'), (11, 1, 'A-11', 0.5, NULL, NULL, '2026-02-02 00:00:00.000'), (12, 2, 'B-1', 20, '2026-03-01', '[]', NULL);
INSERT INTO tag VALUES (4, 'urgent'), (5, 'late');
INSERT INTO invoice_tag VALUES (10, 4), (10, 5), (11, 4);
INSERT INTO line (invoice_id, position, product, raw, uid) VALUES (10, 1, 'pen', x'00ff', '6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10'), (10, 2, 'ink', NULL, NULL), (12, 1, 'cap', NULL, NULL);
INSERT INTO delivery VALUES (1, 10, 2);
INSERT INTO employee VALUES (1, NULL, 'Eve'), (2, 1, 'Dan'), (3, 1, 'Fay');
INSERT INTO secret VALUES (1, 1, 'x');
"#;

fn column(name: &str, kind: Type) -> Column {
    let (native, db_type) = match kind {
        Type::Boolean => (16, "BOOLEAN"),
        Type::Integer => (23, "int4"),
        Type::BigInt => (20, "INTEGER"),
        Type::Decimal => (1700, "DECIMAL(12,2)"),
        Type::Date => (1082, "DATE"),
        Type::DateTime => (1114, "DATETIME"),
        Type::TimestampTz => (1184, "TIMESTAMPTZ"),
        Type::Json => (114, "JSON"),
        Type::Binary => (17, "BLOB"),
        Type::Uuid => (2950, "UUID"),
        _ => (25, "TEXT"),
    };
    Column {
        name: name.to_owned(),
        kind,
        db_type: db_type.to_owned(),
        native,
        is_nullable: true,
        default: None,
        is_auto_increment: false,
        is_generated: false,
        length: None,
        precision: None,
        scale: None,
        picklist: Vec::new(),
        description: None,
        settings: None,
    }
}

fn required(name: &str, kind: Type) -> Column {
    Column {
        is_nullable: false,
        ..column(name, kind)
    }
}

fn numbered(name: &str) -> Column {
    Column {
        is_auto_increment: true,
        ..required(name, Type::BigInt)
    }
}

fn points(columns: &[usize], target: &str, target_columns: &[&str]) -> ForeignKey {
    ForeignKey {
        name: String::new(),
        columns: columns.to_vec(),
        target: target.to_owned(),
        target_columns: target_columns.iter().map(ToString::to_string).collect(),
        on_update: "NO ACTION".to_owned(),
        on_delete: "NO ACTION".to_owned(),
    }
}

fn table(name: &str, columns: Vec<Column>, key: &[usize], keys: Vec<ForeignKey>) -> Table {
    Table {
        name: name.to_owned(),
        native: name.to_owned(),
        columns,
        primary_key: key.to_vec(),
        foreign_keys: keys,
        is_writable: true,
        ..Table::default()
    }
}

/// A small shop.
pub(super) fn catalog() -> Catalog {
    let mut customer = table(
        "customer",
        vec![
            numbered("id"),
            required("email", Type::String),
            column("full_name", Type::Text),
            Column {
                default: Some(DefaultValue::Literal(true.into())),
                ..required("is_active", Type::Boolean)
            },
            column("credit", Type::Decimal),
            column("created_at", Type::TimestampTz),
            column("we\"ird", Type::Text),
        ],
        &[0],
        vec![],
    );
    customer.unique_keys = vec![vec![1]];
    let mut report = table(
        "report",
        vec![
            column("customer_id", Type::BigInt),
            column("total", Type::Decimal),
        ],
        &[],
        vec![],
    );
    report.is_view = true;
    report.is_writable = false;
    Catalog::new(vec![
        customer,
        table(
            "invoice",
            vec![
                numbered("id"),
                required("customer_id", Type::BigInt),
                required("number", Type::Text),
                required("total", Type::Decimal),
                column("issued_on", Type::Date),
                column("note", Type::Json),
                column("paid_at", Type::DateTime),
            ],
            &[0],
            vec![points(&[1], "customer", &["id"])],
        ),
        table(
            "tag",
            vec![numbered("id"), required("label", Type::Text)],
            &[0],
            vec![],
        ),
        table(
            "invoice_tag",
            vec![
                required("invoice_id", Type::BigInt),
                required("tag_id", Type::BigInt),
            ],
            &[0, 1],
            vec![
                points(&[0], "invoice", &["id"]),
                points(&[1], "tag", &["id"]),
            ],
        ),
        table(
            "line",
            vec![
                required("invoice_id", Type::BigInt),
                required("position", Type::BigInt),
                column("product", Type::Text),
                column("raw", Type::Binary),
                column("uid", Type::Uuid),
                Column {
                    is_generated: true,
                    ..column("doubled", Type::BigInt)
                },
            ],
            &[0, 1],
            vec![points(&[0], "invoice", &["id"])],
        ),
        table(
            "delivery",
            vec![
                numbered("id"),
                required("invoice_id", Type::BigInt),
                required("position", Type::BigInt),
            ],
            &[0],
            vec![points(&[1, 2], "line", &["invoice_id", "position"])],
        ),
        table(
            "employee",
            vec![
                numbered("id"),
                column("manager_id", Type::BigInt),
                required("name", Type::Text),
            ],
            &[0],
            vec![points(&[1], "employee", &["id"])],
        ),
        table(
            "secret",
            vec![
                numbered("id"),
                column("customer_id", Type::BigInt),
                column("value", Type::Text),
            ],
            &[0],
            vec![points(&[1], "customer", &["id"])],
        ),
        report,
    ])
}

pub(super) fn parsed(text: &str) -> Filter {
    filter::parse(text, &filter::Parameters::default()).unwrap()
}

/// A row of a role: everything on a component, under these conditions.
pub(super) fn rule(component: &str, filter: Option<&str>, fields: Option<&[&str]>) -> Rule {
    Rule {
        names_service: true,
        pattern: Pattern::parse(component).unwrap(),
        verbs: Verbs::ALL,
        deny: false,
        filter: filter.map(|text| Arc::new(filter::parse_role(text).unwrap())),
        fields: fields.map(|names| {
            Arc::new(
                names
                    .iter()
                    .map(ToString::to_string)
                    .collect::<BTreeSet<_>>(),
            )
        }),
        position: Arc::from("roles.toml:1"),
    }
}

pub(super) fn access(rules: Vec<Rule>) -> Access {
    let lookups = Lookups::new([
        ("user.id".to_owned(), "1".to_owned()),
        ("user.email".to_owned(), "x') OR ('1'='1".to_owned()),
        ("user.name".to_owned(), String::new()),
    ]);
    Access::new("tester", "shop", rules, Arc::new(lookups))
}

/// Everything but `secret`.
pub(super) fn open() -> Access {
    let mut rules = vec![rule("_table/*", None, None)];
    rules.push(Rule {
        deny: true,
        ..rule("_table/secret", None, None)
    });
    access(rules)
}

/// A catalog, a role and options, from which a planner is made.
pub(super) struct Shop {
    pub(super) catalog: Catalog,
    pub(super) access: Access,
    pub(super) options: DatabaseOptions,
}

impl Shop {
    pub(super) fn new(access: Access) -> Self {
        Self {
            catalog: catalog(),
            access,
            options: DatabaseOptions {
                max_records: 100,
                ..DatabaseOptions::default()
            },
        }
    }

    pub(super) fn planner(&self) -> Planner<'_> {
        Planner::new(&self.catalog, &self.access, &self.options)
    }

    pub(super) fn table(&self, name: &str) -> Arc<Table> {
        Arc::clone(self.catalog.get(name).unwrap())
    }

    pub(super) fn grant(&self, table: &str) -> Grant {
        self.access
            .of(&format!("_table/{table}"), &http::Method::GET)
            .unwrap()
    }
}

pub(super) fn named(names: &[&str]) -> Fields {
    Fields::Named(names.iter().map(|name| item(name)).collect())
}

/// A column, or an aggregate such as `SUM(total)`.
pub(super) fn item(text: &str) -> FieldItem {
    use super::plan::Aggregate;
    let Some((function, of)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return FieldItem::Column(text.to_owned());
    };
    let function = match function {
        "COUNT" => Aggregate::Count,
        "SUM" => Aggregate::Sum,
        "AVG" => Aggregate::Average,
        "MIN" => Aggregate::Minimum,
        _ => Aggregate::Maximum,
    };
    FieldItem::Aggregate(function, (of != "*").then(|| of.to_owned()))
}

/// `a`, `-a` for descending.
pub(super) fn order(names: &[&str]) -> Vec<OrderItem> {
    names
        .iter()
        .map(|name| OrderItem {
            item: item(name.trim_start_matches('-')),
            descending: name.starts_with('-'),
            nulls: None,
        })
        .collect()
}

pub(super) fn related(name: &str) -> RelatedRequest {
    RelatedRequest {
        name: name.to_owned(),
        ..RelatedRequest::default()
    }
}

pub(super) fn filtered(text: &str) -> RecordsQuery {
    RecordsQuery {
        filter: Some(parsed(text)),
        filter_text: Some(text.to_owned()),
        ..RecordsQuery::default()
    }
}

pub(super) fn record(json: &str) -> Record {
    let members: indexmap::IndexMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
    members
}
