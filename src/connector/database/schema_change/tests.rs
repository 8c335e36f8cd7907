//! Requests as statements, side by side in every dialect.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request::Naming;
use super::*;
use crate::connector::access::{Access, Pattern, Rule as AccessRule, Verbs};
use crate::connector::database::catalog::{
    Catalog, DefaultValue, ForeignKey, Index, IndexOrigin, Type,
};
use crate::connector::database::operations::component_of;
use crate::connector::database::schema::SchemaView;
use crate::error::{ErrorKind, Result};

const DIALECTS: [(&str, &dyn SchemaDialect); 6] = [
    ("postgresql", &PostgresqlSchema),
    ("sqlite", &SqliteSchema),
    ("mysql", &MysqlSchema { is_mariadb: false }),
    ("mariadb", &MysqlSchema { is_mariadb: true }),
    ("sqlserver", &SqlserverSchema),
    ("oracle", &OracleSchema),
];

const NAMING: Naming = Naming {
    verb: "create",
    is_lenient: false,
};

fn column(name: &str, kind: Type, db_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        db_type: db_type.to_owned(),
        native: 0,
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

fn catalog() -> Catalog {
    let customer = Table {
        name: "customer".into(),
        native: "customer".into(),
        columns: vec![
            Column {
                is_auto_increment: true,
                is_nullable: false,
                ..column("id", Type::Integer, "integer")
            },
            Column {
                length: Some(40),
                is_nullable: false,
                default: Some(DefaultValue::Literal(json!("none"))),
                ..column("email", Type::String, "varchar(40)")
            },
        ],
        primary_key: vec![0],
        is_writable: true,
        ..Table::default()
    };
    let invoice = Table {
        name: "invoice".into(),
        native: "invoice".into(),
        columns: vec![
            Column {
                is_nullable: false,
                ..column("id", Type::BigInt, "bigint")
            },
            column("customer_id", Type::Integer, "integer"),
            column("number", Type::String, "varchar"),
        ],
        primary_key: vec![0],
        unique_keys: vec![vec![2]],
        indexed: vec![0, 2],
        indexes: vec![Index {
            name: "undx_invoice_number".into(),
            columns: vec![2],
            is_unique: true,
            origin: IndexOrigin::Index,
        }],
        foreign_keys: vec![ForeignKey {
            name: "fk_invoice_customer_id".into(),
            columns: vec![1],
            target: "customer".into(),
            target_columns: vec!["id".into()],
            on_update: "NO ACTION".into(),
            on_delete: "NO ACTION".into(),
        }],
        is_writable: true,
        ..Table::default()
    };
    Catalog::new(vec![customer, invoice])
}

fn access() -> Access {
    let rule = |pattern: &str| AccessRule {
        names_service: true,
        pattern: Pattern::parse(pattern).unwrap(),
        verbs: Verbs::ALL,
        deny: false,
        filter: None,
        fields: None,
        position: Arc::from(pattern),
    };
    Access::new("r", "s", vec![rule("*"), rule("_schema/*")], Arc::default())
}

/// The statements of what a draft is brought to do.
fn drafted(
    dialect: &dyn SchemaDialect,
    draw: impl FnOnce(&mut Draft<'_>, &dyn Fn(&str) -> Subject) -> Result<()>,
) -> Result<Vec<String>> {
    let (catalog, access) = (catalog(), access());
    let view = SchemaView {
        catalog: &catalog,
        access: &access,
    };
    let subject = |name: &str| Subject {
        table: Arc::clone(catalog.get(name).unwrap()),
        served: Arc::clone(catalog.get(name).unwrap()),
        grant: access
            .of(&component_of("_schema", name), &Method::POST)
            .unwrap(),
    };
    let mut draft = Draft::new(&catalog, view, dialect);
    draw(&mut draft, &subject)?;
    let mut all = Vec::new();
    for change in draft.finish() {
        all.extend(statements(dialect, &change)?);
    }
    Ok(all)
}

fn created(dialect: &dyn SchemaDialect, tables: &Value) -> Result<Vec<String>> {
    let wanted = tables_of(
        json!({ "resource": tables }).to_string().as_bytes(),
        NAMING,
        false,
    )?;
    drafted(dialect, |draft, _| {
        let grant = access().of("_schema/x", &Method::POST)?;
        let tables: Vec<_> = wanted.iter().map(|table| (table, grant.clone())).collect();
        draft.create(&tables)
    })
}

fn changed(dialect: &dyn SchemaDialect, table: &str, body: &Value) -> Result<Vec<String>> {
    let wanted = tables_of(body.to_string().as_bytes(), NAMING, true)?;
    drafted(dialect, |draft, subject| {
        draft.change(&subject(table), &wanted[0], Mode::Replace { force: true })
    })
}

/// What every dialect makes of something.
fn side_by_side(statements: impl Fn(&dyn SchemaDialect) -> Result<Vec<String>>) -> String {
    let mut text = String::new();
    for (name, dialect) in DIALECTS {
        let lines = match statements(dialect) {
            Ok(lines) => lines.join(";\n  "),
            Err(error) => format!(
                "refused: {} ({})",
                error.message(),
                error.help().unwrap_or("")
            ),
        };
        writeln!(text, "{name}:\n  {lines}").unwrap();
    }
    text
}

#[test]
fn tables_are_made() {
    insta::assert_snapshot!(side_by_side(|dialect| created(
        dialect,
        &json!([
            {"name": "todo", "field": [
                {"name": "id", "type": "id"},
                {"name": "title", "type": "string", "length": 120},
                {"name": "done", "type": "boolean", "default": false},
                {"name": "owner_id", "type": "reference", "ref_table": "customer", "ref_on_delete": "SET NULL", "allow_null": true},
                {"name": "list_id", "type": "reference", "ref_table": "list"},
                {"name": "made_at", "type": "timestamp_on_create"},
                {"name": "price", "type": "decimal(12,2)", "default": 0.5, "is_index": true}
            ], "index": [{"fields": ["title", "done"], "unique": true}]},
            {"name": "list", "field": [
                {"name": "id", "type": "bigid"},
                {"name": "code", "type": "char(3)", "is_unique": true, "default": "it's \\ "}
            ]}
        ])
    )));
}

#[test]
fn every_type_has_a_name() {
    let types = [
        "boolean",
        "tinyint",
        "smallint",
        "mediumint",
        "integer",
        "bigint",
        "decimal",
        "decimal(20)",
        "money",
        "float",
        "double",
        "string",
        "varchar(5000)",
        "nvarchar(10)",
        "char",
        "text",
        "mediumtext",
        "longtext",
        "uuid",
        "binary",
        "varbinary(16)",
        "json",
        "jsonb",
        "date",
        "time",
        "timetz",
        "datetime",
        "datetimetz",
        "timestamp",
        "timestamptz",
    ];
    let mut text = String::new();
    for (product, dialect) in DIALECTS {
        writeln!(text, "{product}:").unwrap();
        for kind in types {
            let table =
                json!([{"name": "t", "field": [{"name": "c", "type": kind, "allow_null": true}]}]);
            let name = match created(dialect, &table) {
                Ok(statements) => statements[0]
                    .split_once(" (")
                    .map(|(_, rest)| rest.trim_end_matches(')').to_owned() + ")")
                    .unwrap(),
                Err(error) => format!("refused: {}", error.message()),
            };
            writeln!(text, "  {kind}: {name}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn defaults_are_constants_or_functions() {
    let mut text = String::new();
    for (product, dialect) in DIALECTS {
        writeln!(text, "{product}:").unwrap();
        for (kind, default) in [
            ("boolean", json!(true)),
            ("integer", json!(-3)),
            ("decimal(9,2)", json!("0.10")),
            ("string", json!("it's")),
            ("string", json!("back\\slash")),
            ("text", json!("long")),
            ("json", json!("{}")),
            ("date", json!("2024-02-29")),
            ("datetime", json!({"expression": "NOW()"})),
            ("timestamptz", json!({"expression": "getdate()"})),
            ("date", json!({"expression": "CURRENT_DATE"})),
            ("time", json!({"expression": "CURTIME()"})),
            ("uuid", json!({"expression": "UUID()"})),
        ] {
            let table =
                json!([{"name": "t", "field": [{"name": "c", "type": kind, "default": default}]}]);
            let line = match created(dialect, &table) {
                Ok(statements) => statements[0].clone(),
                Err(error) => format!("refused: {}", error.message()),
            };
            writeln!(text, "  {line}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn fields_are_added_altered_renamed_and_dropped() {
    insta::assert_snapshot!(side_by_side(|dialect| changed(
        dialect,
        "invoice",
        &json!({
            "new_name": "bill",
            "field": [
                {"name": "id"},
                {"name": "number", "new_name": "no", "is_unique": false},
                {"name": "note", "type": "text", "allow_null": true},
                {"name": "payer_id", "type": "reference", "ref_table": "customer", "allow_null": true},
                {"name": "customer_id"}
            ],
            "index": [{"fields": ["number", "note"]}]
        })
    )));
}

#[test]
fn a_field_is_altered() {
    for (name, body) in [
        ("length", json!({"name": "email", "length": 60})),
        ("null", json!({"name": "email", "allow_null": true})),
        ("default", json!({"name": "email", "default": "x"})),
        ("no_default", json!({"name": "email", "default": null})),
        (
            "all",
            json!({"name": "email", "type": "text", "allow_null": true, "default": "y"}),
        ),
        (
            "description",
            json!({"name": "email", "description": "it's"}),
        ),
    ] {
        let body = json!({"field": [{"name": "id"}, body]});
        insta::assert_snapshot!(
            format!("a_field_is_altered_{name}"),
            side_by_side(|dialect| changed(dialect, "customer", &body))
        );
    }
}

#[test]
fn what_is_dropped_takes_its_keys_with_it() {
    insta::assert_snapshot!(side_by_side(|dialect| changed(
        dialect,
        "invoice",
        &json!({"field": [{"name": "id"}]})
    )));
    insta::assert_snapshot!(
        "tables_are_dropped",
        side_by_side(|dialect| drafted(dialect, |draft, subject| {
            draft.drop_tables(&[subject("customer"), subject("invoice")])
        }))
    );
    let refused = drafted(&PostgresqlSchema, |draft, subject| {
        draft.drop_tables(&[subject("customer")])
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::SchemaConflict);
}

#[test]
fn foreign_keys_are_altered() {
    insta::assert_snapshot!(side_by_side(|dialect| changed(
        dialect,
        "invoice",
        &json!({"field": [
            {"name": "id"}, {"name": "number"},
            {"name": "customer_id", "ref_on_delete": "CASCADE"}
        ]})
    )));
}

#[test]
fn hostile_names_stay_names() {
    insta::assert_snapshot!(side_by_side(|dialect| created(
        dialect,
        &json!([{"name": "a]b\"c`d'e;--", "field": [
            {"name": "x]y\"z`'; DROP TABLE t", "type": "integer", "is_index": true},
            {"name": "id", "type": "id"}
        ]}])
    )));
}

#[test]
fn generated_names_are_cut_and_free() {
    let long = "名".repeat(20);
    for (name, dialect) in DIALECTS {
        let statements = created(
            dialect,
            &json!([{"name": long, "field": [
                {"name": format!("{long}b"), "type": "integer", "is_index": true},
                {"name": format!("{long}c"), "type": "integer", "is_index": true}
            ]}]),
        )
        .unwrap();
        assert_eq!(statements.len(), 3, "{name}");
        assert_ne!(statements[1], statements[2]);
    }
    assert_eq!(NameLimit::Bytes(7).cut("名前x", 0), "名前x");
    assert_eq!(NameLimit::Bytes(6).cut("名前x", 0), "名前");
    assert_eq!(NameLimit::Bytes(6).cut("名前x", 2), "名");
    assert_eq!(NameLimit::Units(2).cut("🦀🦀", 0), "🦀");
    assert!(NameLimit::Characters(2).admits("🦀🦀") && !NameLimit::Units(3).admits("🦀🦀"));
}

/// What a scanner of SQL that knows nothing but quotes finds outside of them.
fn outside(sql: &str, quotes: &[(char, char)]) -> String {
    let mut rest = String::new();
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        let Some((_, end)) = quotes.iter().find(|(begin, _)| *begin == character) else {
            rest.push(character);
            continue;
        };
        while let Some(next) = characters.next() {
            if next == *end {
                if characters.peek() == Some(end) {
                    characters.next();
                } else {
                    break;
                }
            }
        }
    }
    rest
}

proptest! {
    #[test]
    fn nothing_of_a_request_stands_outside_of_quotes(
        table in "[a-z'\"`\\[\\];\\\\ -]{1,12}",
        field in "[a-z'\"`\\[\\];\\\\ -]{1,12}",
        text in "[a-zA-Z'\"`\\[\\];\\\\ /*-]{0,16}",
    ) {
        prop_assume!(!table.trim().is_empty() && !field.trim().is_empty());
        let body = |table: &str, field: &str, text: &str| json!([{"name": table, "field": [
            {"name": field, "type": "string", "length": 20, "default": text, "is_index": true}
        ]}]);
        for (name, dialect) in DIALECTS {
            let quotes: &[(char, char)] = match name {
                "mysql" | "mariadb" => &[('\'', '\''), ('`', '`')],
                "sqlserver" => &[('\'', '\''), ('[', ']')],
                _ => &[('\'', '\''), ('"', '"')],
            };
            let plain = created(dialect, &body("t", "f", "d")).unwrap();
            let Ok(statements) = created(dialect, &body(&table, &field, &text)) else {
                continue;
            };
            let outside = |statements: &[String]| {
                let all: Vec<String> = statements.iter().map(|sql| outside(sql, quotes)).collect();
                all.join("\n").replace(" E", "").replace("_utf8mb4 X", "")
            };
            prop_assert_eq!(outside(&statements), outside(&plain), "{}", statements.join("\n"));
        }
    }

    #[test]
    fn any_body_is_an_answer(text in "\\PC{0,64}", word in "[a-z_]{1,16}") {
        let _ = tables_of(text.as_bytes(), NAMING, false);
        for value in [json!(null), json!(1), json!(text), json!([text]), json!({"expression": text})] {
            let mut field = json!({"name": "f", "type": "integer"});
            field[&word] = value;
            let table = json!([{"name": "t", "field": [field]}]);
            for (_, dialect) in DIALECTS {
                let _ = created(dialect, &table);
            }
        }
    }
}
