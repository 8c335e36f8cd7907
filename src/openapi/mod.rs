//! Operations, descriptions and access → an OpenAPI 3.1 document. Pure.
//!
//! The document holds only what its reader may do: tables, verbs and columns that the role does not admit do not
//! occur in it. Like the answer to a request, it is made for one caller and one revision.

mod columns;
pub mod page;
mod routines;

use std::collections::{BTreeMap, HashMap};

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::connector::Description;
use crate::connector::access::{Access, Decision, Grant, Verbs};
use crate::connector::database::catalog::{Catalog, Overloads, RoutineKind, Table};
use crate::connector::operation::{Operation, SchemaOf};
use crate::error::ErrorKind;
use crate::exchange::Format;
use columns::Purpose;
pub use columns::schema_of_type;

/// What is said of one service.
#[derive(Debug)]
pub struct ServiceDescription<'a> {
    /// Its name.
    pub name: &'a str,
    /// What people call it; may be empty.
    pub label: &'a str,
    /// What it is; may be empty.
    pub description: &'a str,
    /// Everything that it can be asked.
    pub operations: &'a [Operation],
    /// What its backend told of itself. Without tables, paths keep their `{table}`.
    pub details: &'a Description,
    /// What the reader may touch in it.
    pub access: Access,
}

/// Characters that stand for themselves in a path segment (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The part of a path that stands for a table.
const TABLE: &str = "{table}";
/// Where the records of a table are; such paths are written out for each table. Elsewhere `{table}` stays a parameter
/// that lists the tables, so that the document keeps a readable size.
const RECORDS: &str = "/_table/{table}";
/// The part of a path that stands for a procedure or a function; written out for each of them.
const ROUTINE: &str = "{routine()}";

/// Writes the document of these services. `is_single` says that it is about the first one alone: paths are then relative
/// to that service instead of `/api/v2`. `revision` is what `X-Tidegate-Revision` says.
///
/// The order of services, operations and tables is kept, so equal arguments give equal documents.
pub fn document(services: &[ServiceDescription<'_>], is_single: bool, revision: &str) -> Value {
    let mut writer = Writer::default();
    for service in services {
        writer.service(service, is_single);
    }
    let only = services.first().filter(|_| is_single);
    let server = only.map_or_else(
        || "/api/v2".to_owned(),
        |service| format!("/api/v2/{}", service.name),
    );
    let title = match only {
        Some(service) if !service.label.is_empty() => service.label,
        Some(service) => service.name,
        None => "Tidegate",
    };
    let summary = match only {
        Some(service) if !service.description.is_empty() => service.description,
        _ => "Every service, table and column that this key may use, and nothing else.",
    };
    writer.finish(title, summary, &server, revision)
}

/// The document in the making.
#[derive(Default)]
struct Writer {
    paths: Map<String, Value>,
    tags: Vec<Value>,
    schemas: Shared,
    parameters: Shared,
    operation_ids: HashMap<String, usize>,
    /// Definitions that generated schemas refer to.
    definitions: BTreeMap<String, Value>,
}

/// Components under unique names; equal ones are kept once.
#[derive(Default)]
struct Shared {
    by_name: Map<String, Value>,
    by_content: HashMap<String, String>,
}

impl Shared {
    /// The name of a component with this content, which is added if it is new.
    fn name_of(&mut self, wanted: &str, content: Value) -> String {
        let key = content.to_string();
        if let Some(name) = self.by_content.get(&key) {
            return name.clone();
        }
        let wanted: String = wanted
            .chars()
            .map(|character| match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
                _ => '_',
            })
            .collect();
        let mut name = wanted.clone();
        let mut number = 2_usize;
        while self.by_name.contains_key(&name) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        self.by_name.insert(name.clone(), content);
        self.by_content.insert(key, name.clone());
        name
    }
}

fn schema_reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// One operation on one path of one service.
struct Place<'a> {
    service: &'a ServiceDescription<'a>,
    operation: &'a Operation,
    /// The grant that admits it.
    grant: Grant,
    /// The table that the path is written out for.
    table: Option<&'a Table>,
    /// The procedure or function that the path is written out for.
    routine: Option<(&'a str, &'a Overloads)>,
    /// The tables that `{table}` may stand for, where it is a parameter.
    choices: Vec<&'a str>,
    catalog: Option<&'a Catalog>,
}

impl Writer {
    fn service(&mut self, service: &ServiceDescription<'_>, is_single: bool) {
        let prefix = if is_single {
            String::new()
        } else {
            format!("/{}", service.name)
        };
        let catalog = match service.details {
            Description::General => None,
            Description::Database(catalog) => Some(&**catalog),
        };
        let mut general_is_used = false;
        let mut tables_used: Vec<&Table> = Vec::new();
        for operation in service.operations {
            match catalog {
                Some(catalog) if operation.path.starts_with(RECORDS) => {
                    for table in catalog.tables() {
                        if operation.method != Method::GET && !table.is_writable {
                            continue;
                        }
                        let component = component_for(operation.path, &table.name);
                        let Some(grant) = granted(service, &component, &operation.method) else {
                            continue;
                        };
                        let path = operation.path.replace(
                            TABLE,
                            &utf8_percent_encode(&table.name, SEGMENT).to_string(),
                        );
                        self.operation(
                            &format!("{prefix}{path}"),
                            &Place {
                                service,
                                operation,
                                grant,
                                table: Some(table),
                                routine: None,
                                choices: Vec::new(),
                                catalog: Some(catalog),
                            },
                        );
                        if !tables_used.iter().any(|used| used.name == table.name) {
                            tables_used.push(table);
                        }
                    }
                }
                Some(catalog) if operation.path.contains(ROUTINE) => {
                    general_is_used |= self.routines(service, operation, catalog, &prefix);
                }
                Some(catalog) if operation.path.contains(TABLE) => {
                    let family = operation.path.trim_start_matches('/').split('/').next();
                    let choices: Vec<(&str, Grant)> = catalog
                        .tables()
                        .filter_map(|table| {
                            let name = table.name_in(family.unwrap_or_default());
                            let component = component_for(operation.path, name);
                            let grant = granted(service, &component, &operation.method)?;
                            Some((name, grant))
                        })
                        .collect();
                    let Some((_, grant)) = choices.first() else {
                        continue;
                    };
                    self.operation(
                        &format!("{prefix}{}", operation.path),
                        &Place {
                            service,
                            operation,
                            grant: grant.clone(),
                            table: None,
                            routine: None,
                            choices: choices.iter().map(|(name, _)| *name).collect(),
                            catalog: Some(catalog),
                        },
                    );
                    general_is_used = true;
                }
                _ => {
                    let component = operation.path.trim_matches('/');
                    let Some(grant) = granted(service, component, &operation.method) else {
                        continue;
                    };
                    let path = format!("{prefix}{}", operation.path);
                    self.operation(
                        if path.is_empty() { "/" } else { &path },
                        &Place {
                            service,
                            operation,
                            grant,
                            table: None,
                            routine: None,
                            choices: Vec::new(),
                            catalog,
                        },
                    );
                    general_is_used = true;
                }
            }
        }
        if general_is_used {
            let text = if service.description.is_empty() {
                service.label
            } else {
                service.description
            };
            self.tags
                .push(json!({ "name": service.name, "description": text }));
        }
        for table in tables_used {
            self.tags.push(json!({
                "name": table_tag(service, table),
                "description": table.description.as_deref().unwrap_or(if table.is_view { "View" } else { "Table" }),
            }));
        }
    }

    /// An operation on every procedure, or on every function. Whether there was one.
    fn routines(
        &mut self,
        service: &ServiceDescription<'_>,
        operation: &Operation,
        catalog: &Catalog,
        prefix: &str,
    ) -> bool {
        let mut is_used = false;
        let family = operation.path.trim_matches('/').split('/').next();
        let kinds = [RoutineKind::Procedure, RoutineKind::Function];
        let kind = kinds.into_iter().find(|kind| Some(kind.family()) == family);
        for (name, overloads) in kind
            .into_iter()
            .flat_map(|kind| catalog.routines().of(kind))
        {
            let reads = overloads.iter().any(|routine| routine.is_read_only);
            if operation.method == Method::GET && !reads {
                continue;
            }
            let component = operation
                .path
                .trim_matches('/')
                .replace(ROUTINE, &name.replace('/', "%2F"));
            let Some(grant) = granted(service, &component, &operation.method) else {
                continue;
            };
            if grant.filter.is_some() || grant.fields.is_some() {
                // No routine can be held to them, so it is not called.
                continue;
            }
            let segment = utf8_percent_encode(name, SEGMENT).to_string();
            let path = operation.path.replace(ROUTINE, &segment);
            self.operation(
                &format!("{prefix}{path}"),
                &Place {
                    service,
                    operation,
                    grant,
                    table: None,
                    routine: Some((name, overloads)),
                    choices: Vec::new(),
                    catalog: Some(catalog),
                },
            );
            is_used = true;
        }
        is_used
    }

    fn operation(&mut self, path: &str, place: &Place<'_>) {
        let operation = place.operation;
        let mut entry = Map::new();
        entry.insert(
            "tags".to_owned(),
            json!([match place.table {
                Some(table) => table_tag(place.service, table),
                None => place.service.name.to_owned(),
            }]),
        );
        entry.insert("summary".to_owned(), json!(operation.summary));
        let text = match place.routine {
            Some((_, overloads)) => Some(routines::text(overloads)),
            None => relations_text(place),
        };
        if let Some(text) = text {
            entry.insert("description".to_owned(), json!(text));
        }
        entry.insert("operationId".to_owned(), json!(self.operation_id(place)));
        let parameters = self.parameters(path, place);
        if !parameters.is_empty() {
            entry.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(body) = self.request_body(place) {
            entry.insert("requestBody".to_owned(), body);
        }
        entry.insert("responses".to_owned(), self.responses(place));
        let methods = self
            .paths
            // A parameter that takes the rest of the path has no form of its own here.
            .entry(path.replace("...}", "}").replace("()}", "}"))
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = methods {
            methods.insert(
                operation.method.as_str().to_ascii_lowercase(),
                Value::Object(entry),
            );
        }
    }

    /// Service, operation and table, made of letters that every language can use in a name.
    fn operation_id(&mut self, place: &Place<'_>) -> String {
        let mut id = format!("{}_{}", place.service.name, place.operation.name);
        if let Some(table) = place.table {
            id.push('_');
            id.push_str(&table.name);
        }
        if let Some((name, _)) = place.routine {
            id.push('_');
            id.push_str(name);
        }
        let id: String = id
            .chars()
            .map(|character| {
                if character.is_ascii_alphanumeric() {
                    character
                } else {
                    '_'
                }
            })
            .collect();
        let count = self.operation_ids.entry(id.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            id
        } else {
            // The double underline keeps it apart from a table that ends in the same number.
            let other = format!("{id}__{count}");
            self.operation_ids.insert(other.clone(), 1);
            other
        }
    }

    fn parameters(&mut self, path: &str, place: &Place<'_>) -> Vec<Value> {
        let mut parameters = Vec::new();
        for name in path_parameters(path) {
            let parameter = match (name, place.table) {
                ("id", Some(table)) => {
                    let (schema, text) = columns::key(table, &place.grant);
                    json!({ "name": "id", "in": "path", "required": true, "description": text, "schema": schema })
                }
                ("table", _) if !place.choices.is_empty() => json!({
                    "name": "table", "in": "path", "required": true,
                    "description": "A table or a view.",
                    "schema": { "type": "string", "enum": place.choices },
                }),
                (name, _) => json!({
                    "name": name, "in": "path", "required": true, "schema": { "type": "string" },
                }),
            };
            parameters.push(parameter);
        }
        if let Some((_, overloads)) = place.routine
            && place.operation.method == Method::GET
        {
            parameters.extend(routines::query(overloads));
        }
        if let Some(query) = place.operation.query {
            let schema = self.generate(query);
            let properties = match schema.get("properties") {
                Some(Value::Object(properties)) => properties.clone(),
                _ => Map::new(),
            };
            for (name, mut schema) in properties {
                let description = schema
                    .as_object_mut()
                    .and_then(|schema| schema.remove("description"))
                    .unwrap_or_else(|| json!(""));
                let content = json!({
                    "name": name, "in": "query", "description": description, "schema": schema,
                });
                parameters.push(self.shared_parameter(&name, content));
            }
        }
        if place.table.is_some() && place.operation.path != RECORDS {
            let (name, description) = if place.operation.method == Method::GET {
                (
                    "If-None-Match",
                    "An `ETag` that was answered before: 304 if the record is still the same.",
                )
            } else {
                (
                    "If-Match",
                    "An `ETag` that was answered before: 412 if the record has changed since.",
                )
            };
            let content = json!({
                "name": name, "in": "header", "description": description, "schema": { "type": "string" },
            });
            parameters.push(self.shared_parameter(name, content));
        }
        parameters
    }

    fn shared_parameter(&mut self, name: &str, content: Value) -> Value {
        let name = self.parameters.name_of(name, content);
        json!({ "$ref": format!("#/components/parameters/{name}") })
    }

    fn request_body(&mut self, place: &Place<'_>) -> Option<Value> {
        let mut schema = self.generate(place.operation.request?);
        if let Some((_, overloads)) = place.routine {
            routines::fill_body(&mut schema, overloads);
            return Some(json!({
                "required": false,
                "content": { Format::Json.media_type(): { "schema": schema } },
            }));
        }
        let purpose = if place.operation.method == Method::POST {
            Purpose::Create
        } else {
            Purpose::Change
        };
        let reference = self.schema(place, schema, purpose);
        let mut content = Map::new();
        content.insert(
            Format::Json.media_type().to_owned(),
            json!({ "schema": reference }),
        );
        if place.operation.path == RECORDS {
            content.insert(
                Format::Csv.media_type().to_owned(),
                json!({ "schema": { "type": "string", "description": "A header line with names of columns, then a line a record." } }),
            );
        }
        Some(json!({ "required": true, "content": content }))
    }

    fn responses(&mut self, place: &Place<'_>) -> Value {
        let mut success = Map::new();
        success.insert("description".to_owned(), json!("Success"));
        if let Some(response) = place.operation.response {
            let reference = if let Some((_, overloads)) = place.routine {
                routines::answer(overloads)
            } else {
                let schema = self.generate(response);
                self.schema(place, schema, Purpose::Answer)
            };
            let mut content = Map::new();
            for format in Format::ALL {
                let schema = match format {
                    Format::Json | Format::Xml => reference.clone(),
                    Format::NdJson | Format::Csv => json!({ "type": "string" }),
                };
                content.insert(format.media_type().to_owned(), json!({ "schema": schema }));
            }
            success.insert("content".to_owned(), Value::Object(content));
        }
        json!({
            "200": success,
            "default": { "$ref": "#/components/responses/Error" },
        })
    }

    /// A reference to a schema of the operation, in which the records of the table stand where the operation can only
    /// say `object`.
    fn schema(&mut self, place: &Place<'_>, mut schema: Value, purpose: Purpose) -> Value {
        let (operation, service) = (place.operation, place.service);
        let Some(table) = place.table else {
            if let Some(reference) = schema.get("$ref") {
                return json!({ "$ref": reference });
            }
            let wanted = format!("{}.{}", service.details_name(), operation.name);
            return schema_reference(&self.schemas.name_of(&wanted, schema));
        };
        let wanted = match purpose {
            Purpose::Answer => format!("{}.{}", service.name, table.name),
            Purpose::Create => format!("{}.{}.create", service.name, table.name),
            Purpose::Change => format!("{}.{}.change", service.name, table.name),
        };
        let record = columns::record(table, &place.grant, purpose);
        let record = schema_reference(&self.schemas.name_of(&wanted, record));
        if is_any_object(&schema) {
            return record;
        }
        if let Some(items) = schema.pointer_mut("/properties/resource/items")
            && is_any_object(items)
        {
            *items = record;
        }
        schema_reference(&self.schemas.name_of(&format!("{wanted}.list"), schema))
    }

    /// A generated schema; what it refers to becomes a component.
    fn generate(&mut self, schema_of: SchemaOf) -> Value {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        let mut generator = SchemaGenerator::new(settings);
        let schema = schema_of(&mut generator).to_value();
        let definitions = generator.take_definitions(true);
        // Query options have to be seen, not referred to.
        let resolved = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.rsplit('/').next())
            .and_then(|name| definitions.get(name))
            .cloned();
        self.definitions.extend(definitions);
        resolved.unwrap_or(schema)
    }

    fn finish(mut self, title: &str, summary: &str, server: &str, revision: &str) -> Value {
        for (name, definition) in std::mem::take(&mut self.definitions) {
            self.schemas.by_name.entry(name).or_insert(definition);
        }
        self.schemas
            .by_name
            .insert("Error".to_owned(), error_schema());
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": title,
                "description": summary,
                "version": revision,
            },
            "x-tidegate-revision": revision,
            "servers": [{ "url": server }],
            "security": [{ "ApiKey": [] }, { "ShortApiKey": [] }],
            "tags": self.tags,
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.by_name,
                "parameters": self.parameters.by_name,
                "responses": {
                    "Error": {
                        "description": "What went wrong and what to do instead",
                        "content": {
                            Format::Json.media_type(): { "schema": schema_reference("Error") },
                            Format::Xml.media_type(): { "schema": schema_reference("Error") },
                            Format::Csv.media_type(): { "schema": { "type": "string" } },
                        },
                    },
                },
                "securitySchemes": {
                    "ApiKey": {
                        "type": "apiKey", "in": "header", "name": "X-DreamFactory-API-Key",
                        "description": "The key of an application.",
                    },
                    "ShortApiKey": {
                        "type": "apiKey", "in": "header", "name": "X-API-Key",
                        "description": "The same under a shorter name.",
                    },
                },
            },
        })
    }
}

impl ServiceDescription<'_> {
    /// The stem of the names of schemas that all services of one family share.
    fn details_name(&self) -> &'static str {
        match self.details {
            Description::General => "service",
            Description::Database(_) => "database",
        }
    }
}

fn table_tag(service: &ServiceDescription<'_>, table: &Table) -> String {
    format!("{}.{}", service.name, table.name)
}

/// What roles are matched against for a path with this table. Other parts stay in braces: only a rule that covers any
/// value covers them.
fn component_for(path: &str, table: &str) -> String {
    path.trim_matches('/')
        .replace(TABLE, &table.replace('/', "%2F"))
}

fn granted(service: &ServiceDescription<'_>, component: &str, method: &Method) -> Option<Grant> {
    match service.access.decide(component, Verbs::of(method)) {
        Decision::Granted(grant) => Some(grant),
        Decision::Denied(_) | Decision::NotListed(_) | Decision::NoRow => None,
    }
}

/// The names in braces of a path.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|piece| {
        let name = piece.strip_prefix('{')?.strip_suffix('}')?;
        let name = name.strip_suffix("...").unwrap_or(name);
        Some(name.strip_suffix("()").unwrap_or(name))
    })
}

/// Whether a schema says no more than that something is an object.
fn is_any_object(schema: &Value) -> bool {
    schema
        .as_object()
        .is_some_and(|members| members.len() == 1 && members.get("type") == Some(&json!("object")))
}

fn admits_all(table: &Table, grant: &Grant, columns: &[usize]) -> bool {
    columns.iter().all(|index| {
        table
            .columns
            .get(*index)
            .is_some_and(|column| grant.admits_field(&column.name))
    })
}

/// Which relations can be embedded: those to tables and over columns that the reader may read as well.
fn relations_text(place: &Place<'_>) -> Option<String> {
    let table = place.table?;
    let catalog = place.catalog?;
    if place.operation.method != Method::GET {
        return None;
    }
    let may_read = |name: &str, columns: &[usize]| {
        catalog
            .tables()
            .find(|table| table.name == name)
            .zip(granted(
                place.service,
                &component_for(RECORDS, name),
                &Method::GET,
            ))
            .is_some_and(|(table, grant)| admits_all(table, &grant, columns))
    };
    let names: Vec<String> = table
        .relations
        .iter()
        .filter(|relation| {
            relation.service.is_none()
                && admits_all(table, &place.grant, &relation.columns)
                && may_read(&relation.target, &relation.target_columns)
                && relation.junction.as_ref().is_none_or(|junction| {
                    may_read(&junction.table, &junction.near)
                        && may_read(&junction.table, &junction.far)
                })
        })
        .map(|relation| format!("`{}`", relation.name))
        .collect();
    (!names.is_empty()).then(|| format!("Can embed with `related`: {}.", names.join(", ")))
}

/// The envelope of errors.
fn error_schema() -> Value {
    let types: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
    json!({
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {
                        "type": "integer",
                        "description": "The status, or 1000 when records of a batch were refused.",
                    },
                    "status_code": { "type": "integer", "description": "The status." },
                    "message": { "type": "string", "description": "What is wrong." },
                    "type": {
                        "type": "string", "enum": types,
                        "description": "A stable name of what is wrong.",
                    },
                    "help": { "type": ["string", "null"], "description": "What to do instead." },
                    "request_id": { "type": "string", "description": "The name of this request in the log." },
                    "context": {
                        "type": ["object", "null"],
                        "description": "More about it: for a batch, what became of each record.",
                    },
                },
                "required": [
                    "code", "status_code", "message", "type", "help", "request_id", "context",
                ],
            },
        },
        "required": ["error"],
    })
}

#[cfg(test)]
mod tests;
