//! Plans as SQL for products that no test has a server of, beside PostgreSQL's.

use std::fmt::Write as _;

use super::super::catalog::{Catalog, Column, Table, Type};
use super::super::dialect::{OracleDialect, PostgresqlDialect, SqlServerDialect};
use super::super::fixture::*;
use super::super::plan::{Delete, Insert, Selector, Update};
use super::super::request::RecordsQuery;
use super::render::render_insert;
use super::*;

/// How a product spells a type.
type Spelling = fn(&Type) -> &'static str;

fn sqlserver(kind: &Type) -> &'static str {
    match kind {
        Type::Boolean => "bit",
        Type::SmallInt => "smallint",
        Type::Integer => "int",
        Type::BigInt => "bigint",
        Type::Decimal => "decimal(12,2)",
        Type::Date => "date",
        Type::DateTime => "datetime",
        Type::TimestampTz => "datetimeoffset(7)",
        Type::Json => "json",
        Type::Binary => "varbinary(max)",
        Type::Uuid => "uniqueidentifier",
        _ => "nvarchar(max)",
    }
}

fn oracle(kind: &Type) -> &'static str {
    match kind {
        Type::Boolean => "NUMBER(1)",
        Type::SmallInt | Type::Integer => "NUMBER(9)",
        Type::BigInt => "NUMBER(18)",
        Type::Decimal => "NUMBER(12,2)",
        Type::Date | Type::DateTime => "DATE",
        Type::TimestampTz => "TIMESTAMP(6) WITH TIME ZONE",
        Type::Json => "JSON",
        Type::Binary => "BLOB",
        Type::Uuid => "RAW(16)",
        _ => "VARCHAR2(100)",
    }
}

/// The tables of the fixture as a product has them.
fn shop(schema: &str, spelling: Spelling) -> Shop {
    let shop = Shop::new(open());
    let tables = shop.catalog.tables().map(|table| Table {
        schema: Some(schema.to_owned()),
        columns: table
            .columns
            .iter()
            .map(|column| Column {
                db_type: spelling(&column.kind).to_owned(),
                kind: match column.kind {
                    Type::Date if schema == "SHOP" => Type::DateTime,
                    ref kind => kind.clone(),
                },
                native: 0,
                ..column.clone()
            })
            .collect(),
        ..(**table).clone()
    });
    Shop {
        catalog: Catalog::new(tables.collect()),
        ..shop
    }
}

/// A product: its name, its SQL, and its tables.
type Product = (&'static str, &'static dyn Dialect, fn() -> Shop);

const PRODUCTS: [Product; 3] = [
    ("postgresql", &PostgresqlDialect, || Shop::new(open())),
    ("sqlserver", &SqlServerDialect, || shop("dbo", sqlserver)),
    ("oracle", &OracleDialect, || shop("SHOP", oracle)),
];

/// One text for each product, for a snapshot.
fn each(text: impl Fn(&dyn Dialect, &Shop) -> Result<Statement>) -> String {
    let mut all = String::new();
    for (name, dialect, shop) in PRODUCTS {
        let statement = text(dialect, &shop()).unwrap();
        assert_placeholders(name, dialect, &statement);
        let binds = statement.binds.iter().map(|bind| match bind {
            Bind::Value(value) => format!("{value:?}"),
            other => format!("{other:?}"),
        });
        let binds = binds.collect::<Vec<_>>().join(", ");
        let _ = writeln!(all, "{name:<11} {}\n{:11} {binds}", statement.sql, "");
    }
    all
}

/// Oracle binds by position: each placeholder stands once, in order.
fn assert_placeholders(name: &str, dialect: &dyn Dialect, statement: &Statement) {
    let mut rest = &*statement.sql;
    for position in 1..=statement.binds.len() {
        let placeholder = dialect.placeholder(position);
        let found = rest.find(&placeholder);
        assert!(found.is_some(), "no {placeholder} in {}", statement.sql);
        if name == "oracle" {
            let after = rest.split_once(placeholder.as_str()).unwrap().1;
            assert!(!after.starts_with(|next: char| next.is_ascii_digit()));
            assert!(
                !rest
                    .split_once(placeholder.as_str())
                    .unwrap()
                    .0
                    .contains(':')
            );
            // Forms of dates hold colons too.
            rest = after;
            while let Some(quoted) = rest.strip_prefix(", '") {
                rest = quoted.split_once('\'').unwrap().1;
            }
        }
    }
}

fn select(table: &str, query: &RecordsQuery, selector: &Selector) -> String {
    each(|dialect, shop| {
        let plan = shop
            .planner()
            .read(&shop.table(table), &shop.grant(table), query, selector)
            .unwrap();
        render_select(dialect, &plan.select, false, RenderOptions::default())
    })
}

fn key(values: &[i64]) -> Vec<Scalar> {
    values.iter().copied().map(Scalar::Int).collect()
}

#[test]
fn records_are_read_by_key_and_in_pages() {
    let query = RecordsQuery::default();
    insta::assert_snapshot!(
        [
            select("invoice", &query, &Selector::Key),
            select(
                "invoice_tag",
                &query,
                &Selector::Keys(vec![key(&[10, 5]), key(&[10, 4])])
            ),
            select("tag", &query, &Selector::Query),
            select(
                "invoice",
                &RecordsQuery {
                    fields: named(&["number"]),
                    order: order(&["-issued_on", "note", "paid_at"]),
                    limit: Some(7),
                    offset: 14,
                    ..query.clone()
                },
                &Selector::Query
            ),
            select("report", &query, &Selector::Query),
        ]
        .join("\n")
    );
}

#[test]
fn filters_are_conditions_with_everything_bound() {
    let all: Vec<String> = [
        "id != 1",
        "id NOT IN (1, 2)",
        "credit BETWEEN 0.05 AND 12.50",
        "full_name IS NOT NULL",
        "full_name LIKE 'A[%'",
        "full_name ILIKE 'a%'",
        "full_name CONTAINS '%_[\\'",
        "id CONTAINS '1'",
        "is_active = true",
        "created_at > '2026-02-01T10:00:00Z'",
        "created_at < (NOW())",
        "NOT (id = 1 OR NOT (email = 'x' AND id = 2))",
    ]
    .iter()
    .map(|text| {
        let query = RecordsQuery {
            fields: named(&["id"]),
            ..filtered(text)
        };
        format!("{text}\n{}", select("customer", &query, &Selector::Query))
    })
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn groups_are_computed_by_the_database() {
    let grouped = RecordsQuery {
        fields: named(&[
            "customer_id",
            "COUNT(*)",
            "SUM(total)",
            "AVG(customer_id)",
            "MAX(paid_at)",
        ]),
        group: vec!["customer_id".to_owned()],
        having: Some(parsed("COUNT_ALL > 1 AND MAX_paid_at > '2026-01-01'")),
        order: order(&["-SUM(total)", "customer_id"]),
        limit: Some(10),
        ..filtered("total > 0")
    };
    let by_json = RecordsQuery {
        group: vec!["note".to_owned()],
        ..RecordsQuery::default()
    };
    insta::assert_snapshot!(
        [
            select("invoice", &grouped, &Selector::Query),
            select("invoice", &by_json, &Selector::Query),
        ]
        .join("\n")
    );
}

#[test]
fn lists_are_split_or_bound_as_one_where_they_must() {
    for (count, sqlserver, oracle) in [(3, 3, 3), (600, 1, 600), (2_500, 1, 2_500)] {
        let keys: Vec<Vec<Scalar>> = (0..count).map(|number| key(&[number])).collect();
        for (name, dialect, shop) in PRODUCTS {
            let mut shop = shop();
            shop.options.max_records = 10_000;
            let plan = shop
                .planner()
                .read(
                    &shop.table("tag"),
                    &shop.grant("tag"),
                    &RecordsQuery {
                        limit: Some(10),
                        ..RecordsQuery::default()
                    },
                    &Selector::Keys(keys.clone()),
                )
                .unwrap();
            let mut select = plan.select;
            select.order.clear();
            let statement =
                render_select(dialect, &select, false, RenderOptions::default()).unwrap();
            let expected = match name {
                "sqlserver" => sqlserver,
                "oracle" => oracle,
                _ => 1,
            };
            assert_eq!(statement.binds.len(), expected, "{name}: {}", statement.sql);
            if name == "oracle" {
                let lists = statement.sql.matches(" IN (").count();
                assert_eq!(lists, usize::try_from(count).unwrap().div_ceil(1_000));
            }
        }
    }
}

#[test]
fn writes_are_followed_by_what_they_made() {
    let query = RecordsQuery::default();
    let sent = record(
        r#"{"customer_id":1,"number":"A'; DROP TABLE invoice; --","total":99999999999999.99,"note":{"a":[1]},"paid_at":{"expression":"NOW()"}}"#,
    );
    let change = record(r#"{"id":7,"total":1.10,"paid_at":"2026-02-01T10:00:00"}"#);
    let insert = |table: &'static str, sent: &'static str| {
        each(move |dialect, shop| {
            let (table, grant) = (shop.table(table), shop.grant(table));
            let insert: Insert = shop
                .planner()
                .insert(
                    &table,
                    &grant,
                    &record(sent),
                    &RecordsQuery::default(),
                    None,
                )
                .unwrap();
            let key = table.primary_key.clone();
            let columns: Vec<&Column> = key.iter().map(|index| &table.columns[*index]).collect();
            match dialect.insert_output(&columns) {
                Some(output) => {
                    render_insert(dialect, &insert, &key, &output, RenderOptions::default())
                }
                None => render_write(dialect, &Write::Insert(insert), RenderOptions::default()),
            }
        })
    };
    insta::assert_snapshot!(
        [
            each(|dialect, shop| {
                let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
                let insert = shop
                    .planner()
                    .insert(&table, &grant, &sent, &query, None)
                    .unwrap();
                render_write(dialect, &Write::Insert(insert), RenderOptions::default())
            }),
            insert("customer", r#"{"email":"d@example.org"}"#),
            insert("line", r#"{"invoice_id":10,"position":1,"raw":"AP8=","uid":"6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10"}"#),
            each(|dialect, shop| {
                let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
                let update: Update = shop
                    .planner()
                    .update(&table, &grant, &change, &query, &Selector::Keys(vec![key(&[10])]))
                    .unwrap();
                render_write(dialect, &Write::Update(update), RenderOptions::default())
            }),
            each(|dialect, shop| {
                let (table, grant) = (shop.table("line"), shop.grant("line"));
                let delete: Delete = shop
                    .planner()
                    .delete(&table, &grant, &query, &Selector::Keys(vec![key(&[10, 1])]))
                    .unwrap();
                render_write(dialect, &Write::Delete(delete), RenderOptions::default())
            }),
            each(|dialect, shop| {
                let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
                let plan = shop
                    .planner()
                    .read(&table, &grant, &filtered("total > 5"), &Selector::Query)
                    .unwrap();
                let mut select = plan.select;
                select.limit = None;
                render_select(dialect, &select, true, RenderOptions::default())
            }),
        ]
        .join("\n")
    );
}

#[test]
fn hostile_names_of_tables_and_columns_stay_names() {
    insta::assert_snapshot!(each(|dialect, shop| {
        let mut table = Table {
            name: "a".to_owned(),
            schema: Some("s\"]; DROP SCHEMA s; --".to_owned()),
            native: "t]]\"\"x".to_owned(),
            ..(*shop.table("tag")).clone()
        };
        table.columns[0].name = "id\"] = 1 OR :1 = [\"id".to_owned();
        let shop = Shop {
            catalog: Catalog::new(vec![table]),
            ..Shop::new(open())
        };
        let plan = shop
            .planner()
            .read(
                &shop.table("a"),
                &shop.grant("a"),
                &RecordsQuery::default(),
                &Selector::Query,
            )
            .unwrap();
        render_select(dialect, &plan.select, false, RenderOptions::default())
    }));
}
