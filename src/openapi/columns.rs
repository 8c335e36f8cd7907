//! Columns of a table → JSON Schemas (2020-12, as OpenAPI 3.1 has them). Pure.

use serde_json::{Map, Value, json};

use crate::connector::access::Grant;
use crate::connector::database::catalog::{
    Column, ColumnSettings, DefaultValue, Supplied, Table, Type,
};
use crate::connector::database::convert::to_json;
use crate::connector::database::validation::Rule;

/// What a schema of records is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Records as they are answered. No member is required, because `fields` chooses.
    Answer,
    /// Records to be created: what must be given is required.
    Create,
    /// Records to be changed: only what is sent is changed.
    Change,
}

/// The schema of a table's records, with the columns that the grant admits.
pub(super) fn record(table: &Table, grant: &Grant, purpose: Purpose) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for column in table
        .columns
        .iter()
        .filter(|column| grant.admits_field(&column.name))
        .filter(|column| may_be_sent(column, purpose))
    {
        properties.insert(column.name.clone(), of_column(column, purpose));
        if purpose == Purpose::Create && must_be_given(column) {
            required.push(json!(column.name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    Value::Object(schema)
}

/// Whether records for a purpose may have a column.
fn may_be_sent(column: &Column, purpose: Purpose) -> bool {
    let settings = column.settings.as_deref();
    let has = |what: fn(&ColumnSettings) -> bool| settings.is_some_and(what);
    match purpose {
        Purpose::Answer => true,
        _ if column.is_generated
            || has(|settings| settings.read_only.is_some() || settings.on_update.is_some()) =>
        {
            false
        }
        Purpose::Create => !has(|settings| settings.on_create.is_some()),
        Purpose::Change => !has(|settings| settings.create_only.is_some()),
    }
}

fn must_be_given(column: &Column) -> bool {
    if column.default.is_some() || column.is_auto_increment {
        return false;
    }
    let Some(settings) = &column.settings else {
        return !column.is_nullable;
    };
    let is_ruled = || settings.checks.iter().any(|check| check.rule.needs_value());
    !settings.is_supplied() && (!column.is_nullable || is_ruled())
}

/// What the manifest says of values that are sent.
fn add_rules(schema: &mut Map<String, Value>, column: &Column, settings: &ColumnSettings) {
    let is_text = matches!(column.shown_kind(), Type::String | Type::Text);
    for check in &settings.checks {
        match &check.rule {
            Rule::Email if is_text => {
                schema.insert("format".to_owned(), json!("email"));
            }
            Rule::Url if is_text => {
                schema.insert("format".to_owned(), json!("uri"));
            }
            Rule::Match(expression) if is_text => {
                schema.insert("pattern".to_owned(), json!(expression.as_str()));
            }
            Rule::Int(range) if column.shown_kind().is_numeric() => {
                for (key, bound) in [("minimum", range.min), ("maximum", range.max)] {
                    if let Some(bound) = bound {
                        schema.insert(key.to_owned(), json!(bound));
                    }
                }
            }
            Rule::Picklist if is_text => {
                let mut values: Vec<Value> =
                    settings.picklist.iter().map(|value| json!(value)).collect();
                if column.is_nullable {
                    values.push(Value::Null);
                }
                schema.insert("enum".to_owned(), Value::Array(values));
            }
            _ => {}
        }
    }
    if let Some(Supplied::Constant(value)) = &settings.default
        && let Ok(value) = to_json(value)
        && let Ok(value) = serde_json::from_str(value.get())
    {
        schema.insert("default".to_owned(), value);
    }
}

/// The schema of one column's values, null included where the column may be null.
pub(super) fn of_column(column: &Column, purpose: Purpose) -> Value {
    let mut schema = of_type(column.shown_kind());
    if matches!(column.shown_kind(), Type::String | Type::Text)
        && let Some(length) = column.length
    {
        schema.insert("maxLength".to_owned(), json!(length));
    }
    if column.is_nullable
        && let Some(kind) = schema.get_mut("type")
    {
        *kind = json!([kind.take(), "null"]);
    }
    if !column.picklist.is_empty() {
        let mut values: Vec<Value> = column.picklist.iter().map(|value| json!(value)).collect();
        if column.is_nullable {
            values.push(Value::Null);
        }
        schema.insert("enum".to_owned(), Value::Array(values));
    }
    let settings = column.settings.as_deref();
    if let Some(settings) = settings.filter(|_| purpose != Purpose::Answer) {
        add_rules(&mut schema, column, settings);
    }
    if let Some(label) = settings.and_then(|settings| settings.label.as_ref()) {
        schema.insert("title".to_owned(), json!(label));
    }
    if let Some(description) = description(column) {
        schema.insert("description".to_owned(), json!(description));
    }
    if purpose == Purpose::Answer {
        let is_read_only = settings.is_some_and(|settings| settings.read_only.is_some());
        if column.is_generated || column.is_auto_increment || is_read_only {
            schema.insert("readOnly".to_owned(), json!(true));
        }
    } else if let Some(DefaultValue::Literal(value)) = &column.default {
        // One of the manifest goes before that of the database.
        let entry = schema.entry("default".to_owned());
        entry.or_insert_with(|| value.clone());
    }
    Value::Object(schema)
}

fn description(column: &Column) -> Option<String> {
    let digits = match (&column.kind, column.precision, column.scale) {
        (Type::Decimal, Some(precision), Some(scale)) => {
            Some(format!("{precision} digits, {scale} after the point"))
        }
        _ => None,
    };
    match (&column.description, digits) {
        (Some(text), Some(digits)) => Some(format!("{text} ({digits})")),
        (Some(text), None) => Some(text.clone()),
        (None, digits) => digits,
    }
}

/// The schema of a kind of values, as answers have them where nothing else is set.
pub fn schema_of_type(kind: &Type) -> Value {
    Value::Object(of_type(kind))
}

/// The schema of a kind of values. Formats are those of the OpenAPI format registry.
fn of_type(kind: &Type) -> Map<String, Value> {
    let plain = |name: &str| Map::from_iter([("type".to_owned(), json!(name))]);
    let formatted = |name: &str, format: &str| {
        Map::from_iter([
            ("type".to_owned(), json!(name)),
            ("format".to_owned(), json!(format)),
        ])
    };
    match kind {
        Type::Boolean => plain("boolean"),
        Type::SmallInt => formatted("integer", "int16"),
        Type::Integer => formatted("integer", "int32"),
        Type::BigInt => formatted("integer", "int64"),
        Type::Decimal | Type::Money => formatted("number", "decimal"),
        Type::Float => formatted("number", "float"),
        Type::Double => formatted("number", "double"),
        Type::String | Type::Text | Type::Other => plain("string"),
        Type::Uuid => formatted("string", "uuid"),
        Type::Binary => Map::from_iter([
            ("type".to_owned(), json!("string")),
            ("contentEncoding".to_owned(), json!("base64")),
        ]),
        // No type: any JSON value, null included.
        Type::Json => Map::new(),
        Type::Array(element) => {
            let mut items = of_type(element);
            if let Some(kind) = items.get_mut("type") {
                *kind = json!([kind.take(), "null"]);
            }
            Map::from_iter([
                ("type".to_owned(), json!("array")),
                ("items".to_owned(), Value::Object(items)),
            ])
        }
        Type::Date => formatted("string", "date"),
        Type::Time => formatted("string", "time-local"),
        Type::TimeTz => formatted("string", "time"),
        Type::DateTime => formatted("string", "date-time-local"),
        Type::TimestampTz => formatted("string", "date-time"),
    }
}

/// The schema of the key in a path, and what to say of it.
pub(super) fn key(table: &Table, grant: &Grant) -> (Value, String) {
    let mut columns: Vec<&Column> = table
        .primary_key
        .iter()
        .filter_map(|index| table.columns.get(*index))
        .collect();
    // A key of which a part is hidden is none.
    if !columns
        .iter()
        .all(|column| grant.admits_field(&column.name))
    {
        columns.clear();
    }
    match columns.as_slice() {
        [] => (
            json!({ "type": "string" }),
            "The key of the record; name its columns with `id_field`.".to_owned(),
        ),
        [column] => (
            Value::Object(of_type(column.shown_kind())),
            format!("The key of the record: `{}`.", column.name),
        ),
        columns => {
            let example: Vec<String> = columns
                .iter()
                .map(|column| format!("{}=…", column.name))
                .collect();
            (
                json!({ "type": "string" }),
                format!(
                    "The key of the record, percent-encoded: `{}`.",
                    example.join(",")
                ),
            )
        }
    }
}
