//! Procedures and functions → parameters, bodies and answers of their operations. Pure.

use serde_json::{Map, Value, json};

use super::columns::{Purpose, of_column};
use crate::connector::database::catalog::{
    Column, DefaultValue, Overloads, Parameter, Returns, Routine,
};

/// What is said of a routine besides the summary: its comment, and its signatures.
pub(super) fn text(overloads: &Overloads) -> String {
    let mut lines: Vec<String> = Vec::new();
    for routine in overloads {
        if let Some(description) = &routine.description {
            lines.push(description.clone());
        }
        lines.push(format!("`{}`", routine.signature()));
    }
    lines.join("\n\n")
}

/// The parameters of a call as options of the query string.
pub(super) fn query(overloads: &Overloads) -> Vec<Value> {
    inputs(overloads)
        .map(|parameter| {
            json!({
                "name": parameter.column.name,
                "in": "query",
                "description": parameter.column.db_type,
                "schema": of_parameter(parameter),
            })
        })
        .collect()
}

/// Puts the parameters of a call into the schema of its body.
pub(super) fn fill_body(schema: &mut Value, overloads: &Overloads) {
    let properties: Map<String, Value> = inputs(overloads)
        .map(|parameter| (parameter.column.name.clone(), of_parameter(parameter)))
        .collect();
    if let Some(parameters) = schema.pointer_mut("/properties/params") {
        *parameters = json!({
            "description": "The parameters by name. A list by position is taken as well.",
            "type": "object",
            "properties": properties,
        });
    }
}

/// What a call answers that asks for no other shape.
pub(super) fn answer(overloads: &Overloads) -> Value {
    let mut answers: Vec<Value> = Vec::new();
    for routine in overloads {
        let answer = answer_of(routine);
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    match <[Value; 1]>::try_from(answers) {
        Ok([answer]) => answer,
        Err(answers) => json!({ "anyOf": answers }),
    }
}

fn answer_of(routine: &Routine) -> Value {
    match &routine.returns {
        Returns::Value(column) => of_column(column, Purpose::Answer),
        Returns::Row(columns) => object(columns.iter()),
        Returns::Table(columns) => json!({ "type": "array", "items": object(columns.iter()) }),
        Returns::Cursors | Returns::Unknown => {
            json!({ "type": "array", "items": { "type": "object" } })
        }
        Returns::Nothing if routine.outputs().next().is_some() => {
            object(routine.outputs().map(|parameter| &parameter.column))
        }
        Returns::Nothing => json!({
            "description": "Rows; an array of such arrays where there are several result sets; null for a function without a value.",
            "type": ["array", "null"],
        }),
    }
}

fn object<'a>(columns: impl Iterator<Item = &'a Column>) -> Value {
    let properties: Map<String, Value> = columns
        .map(|column| (column.name.clone(), of_column(column, Purpose::Answer)))
        .collect();
    json!({ "type": "object", "properties": properties })
}

/// The parameters of all overloads that have a name, each name once.
fn inputs(overloads: &Overloads) -> impl Iterator<Item = &Parameter> {
    let mut seen: Vec<&str> = Vec::new();
    overloads
        .iter()
        .flat_map(|routine| routine.inputs())
        .filter(move |parameter| {
            let name = parameter.column.name.as_str();
            let is_new = !name.is_empty() && !seen.contains(&name);
            seen.push(name);
            is_new
        })
}

fn of_parameter(parameter: &Parameter) -> Value {
    let mut schema = of_column(&parameter.column, Purpose::Change);
    if let (Some(DefaultValue::Literal(value)), Value::Object(members)) =
        (&parameter.column.default, &mut schema)
    {
        members.insert("default".to_owned(), value.clone());
    }
    schema
}
