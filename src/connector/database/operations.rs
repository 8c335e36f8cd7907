//! What a database can be asked: the table of its operations, with the schemas of their answers.

use http::Method;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::request::{
    change_one_options, change_options, create_options, delete_one_options, delete_options,
    get_options, list_options,
};
use crate::connector::operation::{Effect, Operation, SchemaOf};

/// The names of the operations, as [`crate::connector::Call::operation`] has them.
pub(super) mod name {
    pub(in super::super) const LIST_RESOURCES: &str = "list_resources";
    pub(in super::super) const LIST_TABLES: &str = "list_tables";
    pub(in super::super) const LIST_RECORDS: &str = "list_records";
    pub(in super::super) const CREATE_RECORDS: &str = "create_records";
    pub(in super::super) const REPLACE_RECORDS: &str = "replace_records";
    pub(in super::super) const UPDATE_RECORDS: &str = "update_records";
    pub(in super::super) const DELETE_RECORDS: &str = "delete_records";
    pub(in super::super) const GET_RECORD: &str = "get_record";
    pub(in super::super) const REPLACE_RECORD: &str = "replace_record";
    pub(in super::super) const UPDATE_RECORD: &str = "update_record";
    pub(in super::super) const DELETE_RECORD: &str = "delete_record";
    pub(in super::super) const LIST_SCHEMAS: &str = "list_schemas";
    pub(in super::super) const DESCRIBE_TABLE: &str = "describe_table";
    pub(in super::super) const LIST_FIELDS: &str = "list_fields";
    pub(in super::super) const DESCRIBE_FIELD: &str = "describe_field";
    pub(in super::super) const LIST_RELATIONS: &str = "list_relations";
    pub(in super::super) const DESCRIBE_RELATION: &str = "describe_relation";
    pub(in super::super) const DESCRIBE_COLUMN: &str = "describe_column";
    pub(in super::super) const LIST_PROCEDURES: &str = "list_procedures";
    pub(in super::super) const READ_PROCEDURE: &str = "read_procedure";
    pub(in super::super) const CALL_PROCEDURE: &str = "call_procedure";
    pub(in super::super) const LIST_FUNCTIONS: &str = "list_functions";
    pub(in super::super) const READ_FUNCTION: &str = "read_function";
    pub(in super::super) const CALL_FUNCTION: &str = "call_function";
}

/// The component of a table, for roles: a `/` within a name is kept apart from the separators.
pub(super) fn component_of(family: &str, table: &str) -> String {
    if table.contains('/') {
        format!("{family}/{}", table.replace('/', "%2F"))
    } else {
        format!("{family}/{table}")
    }
}

const fn reads(
    name: &'static str,
    summary: &'static str,
    path: &'static str,
    query: SchemaOf,
    response: SchemaOf,
) -> Operation {
    Operation {
        name,
        summary,
        method: Method::GET,
        path,
        effect: Effect::Reads,
        query: Some(query),
        request: None,
        response: Some(response),
    }
}

const fn writes(
    name: &'static str,
    summary: &'static str,
    method: Method,
    path: &'static str,
    query: SchemaOf,
    request: Option<SchemaOf>,
    response: SchemaOf,
) -> Operation {
    Operation {
        name,
        summary,
        method,
        path,
        effect: Effect::Writes,
        query: Some(query),
        request,
        response: Some(response),
    }
}

/// An operation that changes tables, fields or keys.
const fn changes(
    name: &'static str,
    summary: &'static str,
    method: Method,
    path: &'static str,
    query: SchemaOf,
    request: Option<SchemaOf>,
    response: SchemaOf,
) -> Operation {
    Operation {
        name,
        summary,
        method,
        path,
        effect: Effect::ChangesSchema,
        query: Some(query),
        request,
        response: Some(response),
    }
}

/// Whether an operation of this name changes tables, fields or keys.
pub(super) fn changes_schema(name: &str) -> bool {
    let mut operations = OPERATIONS.iter();
    operations.any(|operation| operation.name == name && operation.effect == Effect::ChangesSchema)
}

const TABLES: &str = "/_schema";
const TABLE: &str = "/_schema/{table}";
const FIELDS: &str = "/_schema/{table}/_field";
const FIELD: &str = "/_schema/{table}/_field/{field}";
const RELATIONS: &str = "/_schema/{table}/_related";
const RELATION: &str = "/_schema/{table}/_related/{relation}";
const COLUMN: &str = "/_schema/{table}/{field}";

const COLLECTION: &str = "/_table/{table}";
const RECORD: &str = "/_table/{table}/{id}";
const PROCEDURE: &str = "/_proc/{routine()}";
const FUNCTION: &str = "/_func/{routine()}";

/// Everything a database can be asked. Of two paths that match, the first is taken, so `_field` stands before the
/// old spelling `_schema/{table}/{field}`.
pub(super) const OPERATIONS: &[Operation] = &[
    reads(
        name::LIST_RESOURCES,
        "List what this service offers",
        "",
        listing_query,
        name_list,
    ),
    reads(
        name::LIST_TABLES,
        "List tables and views",
        "/_table",
        listing_query,
        name_list,
    ),
    reads(
        name::LIST_RECORDS,
        "Read records",
        COLLECTION,
        list_options,
        record_list,
    ),
    writes(
        name::CREATE_RECORDS,
        "Create records",
        Method::POST,
        COLLECTION,
        create_options,
        Some(record_list_body),
        record_list,
    ),
    writes(
        name::REPLACE_RECORDS,
        "Update records by their keys, by `ids` or by `filter`; columns not mentioned stay as they are",
        Method::PUT,
        COLLECTION,
        change_options,
        Some(record_list_body),
        record_list,
    ),
    writes(
        name::UPDATE_RECORDS,
        "Update records by their keys, by `ids` or by `filter`",
        Method::PATCH,
        COLLECTION,
        change_options,
        Some(record_list_body),
        record_list,
    ),
    writes(
        name::DELETE_RECORDS,
        "Delete records by `ids`, by `filter` or by their keys",
        Method::DELETE,
        COLLECTION,
        delete_options,
        None,
        record_list,
    ),
    reads(
        name::GET_RECORD,
        "Read one record",
        RECORD,
        get_options,
        record,
    ),
    writes(
        name::REPLACE_RECORD,
        "Update one record; columns not mentioned stay as they are",
        Method::PUT,
        RECORD,
        change_one_options,
        Some(record),
        record,
    ),
    writes(
        name::UPDATE_RECORD,
        "Update one record",
        Method::PATCH,
        RECORD,
        change_one_options,
        Some(record),
        record,
    ),
    writes(
        name::DELETE_RECORD,
        "Delete one record",
        Method::DELETE,
        RECORD,
        delete_one_options,
        None,
        record,
    ),
    reads(
        name::LIST_SCHEMAS,
        "List tables and views, or describe those in `ids`",
        "/_schema",
        listing_query,
        name_list,
    ),
    reads(
        name::DESCRIBE_TABLE,
        "Describe a table: fields, keys and relations",
        "/_schema/{table}",
        refresh_query,
        record,
    ),
    reads(
        name::LIST_FIELDS,
        "Describe the fields of a table",
        "/_schema/{table}/_field",
        listing_query,
        record_list,
    ),
    reads(
        name::DESCRIBE_FIELD,
        "Describe one field of a table",
        "/_schema/{table}/_field/{field}",
        refresh_query,
        record,
    ),
    reads(
        name::LIST_RELATIONS,
        "Describe the relations of a table",
        "/_schema/{table}/_related",
        listing_query,
        record_list,
    ),
    reads(
        name::DESCRIBE_RELATION,
        "Describe one relation of a table",
        "/_schema/{table}/_related/{relation}",
        refresh_query,
        record,
    ),
    reads(
        name::DESCRIBE_COLUMN,
        "Describe one field of a table (older spelling of `_field/{field}`)",
        "/_schema/{table}/{field}",
        refresh_query,
        record,
    ),
    changes(
        "create_tables",
        "Make tables; what is there is added to",
        Method::POST,
        TABLES,
        create_tables_query,
        Some(table_list),
        named_list,
    ),
    changes(
        "replace_tables",
        "Make tables match; fields that are not mentioned are dropped with `force`",
        Method::PUT,
        TABLES,
        replace_query,
        Some(table_list),
        named_list,
    ),
    changes(
        "update_tables",
        "Add and alter what is mentioned of tables",
        Method::PATCH,
        TABLES,
        answer_query,
        Some(table_list),
        named_list,
    ),
    changes(
        "drop_tables",
        "Drop tables",
        Method::DELETE,
        TABLES,
        ids_query,
        None,
        named_list,
    ),
    changes(
        "extend_table",
        "Add and alter what is mentioned of a table",
        Method::POST,
        TABLE,
        answer_query,
        Some(table),
        named,
    ),
    changes(
        "replace_table",
        "Make a table match; fields that are not mentioned are dropped with `force`",
        Method::PUT,
        TABLE,
        replace_query,
        Some(table),
        named,
    ),
    changes(
        "update_table",
        "Add and alter what is mentioned of a table",
        Method::PATCH,
        TABLE,
        answer_query,
        Some(table),
        named,
    ),
    changes(
        "drop_table",
        "Drop a table",
        Method::DELETE,
        TABLE,
        no_query,
        None,
        success,
    ),
    changes(
        "create_fields",
        "Add fields, alter those that are there",
        Method::POST,
        FIELDS,
        answer_query,
        Some(field_list),
        named_list,
    ),
    changes(
        "replace_fields",
        "Add and alter fields; none is dropped",
        Method::PUT,
        FIELDS,
        answer_query,
        Some(field_list),
        named_list,
    ),
    changes(
        "update_fields",
        "Add and alter fields",
        Method::PATCH,
        FIELDS,
        answer_query,
        Some(field_list),
        named_list,
    ),
    changes(
        "drop_fields",
        "Drop fields",
        Method::DELETE,
        FIELDS,
        ids_query,
        None,
        success,
    ),
    changes(
        "create_field",
        "Add or alter a field",
        Method::POST,
        FIELD,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "replace_field",
        "Add or alter a field",
        Method::PUT,
        FIELD,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "update_field",
        "Add or alter a field",
        Method::PATCH,
        FIELD,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "drop_field",
        "Drop a field",
        Method::DELETE,
        FIELD,
        no_query,
        None,
        success,
    ),
    changes(
        "create_relations",
        "Make foreign keys of this table; virtual relations stand in manifests",
        Method::POST,
        RELATIONS,
        answer_query,
        Some(relation_list),
        named_list,
    ),
    changes(
        "replace_relations",
        "Make foreign keys of this table; virtual relations stand in manifests",
        Method::PUT,
        RELATIONS,
        answer_query,
        Some(relation_list),
        named_list,
    ),
    changes(
        "update_relations",
        "Make foreign keys of this table; virtual relations stand in manifests",
        Method::PATCH,
        RELATIONS,
        answer_query,
        Some(relation_list),
        named_list,
    ),
    changes(
        "drop_relations",
        "Drop foreign keys by the relations that follow them",
        Method::DELETE,
        RELATIONS,
        ids_query,
        None,
        success,
    ),
    changes(
        "create_relation",
        "Make or alter the foreign key that a relation follows",
        Method::POST,
        RELATION,
        answer_query,
        Some(relation),
        named,
    ),
    changes(
        "replace_relation",
        "Make or alter the foreign key that a relation follows",
        Method::PUT,
        RELATION,
        answer_query,
        Some(relation),
        named,
    ),
    changes(
        "update_relation",
        "Make or alter the foreign key that a relation follows",
        Method::PATCH,
        RELATION,
        answer_query,
        Some(relation),
        named,
    ),
    changes(
        "drop_relation",
        "Drop the foreign key that a relation follows",
        Method::DELETE,
        RELATION,
        no_query,
        None,
        success,
    ),
    changes(
        "create_column",
        "Add or alter a field (older spelling of `_field/{field}`)",
        Method::POST,
        COLUMN,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "replace_column",
        "Add or alter a field (older spelling of `_field/{field}`)",
        Method::PUT,
        COLUMN,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "update_column",
        "Add or alter a field (older spelling of `_field/{field}`)",
        Method::PATCH,
        COLUMN,
        answer_query,
        Some(field),
        named,
    ),
    changes(
        "drop_column",
        "Drop a field (older spelling of `_field/{field}`)",
        Method::DELETE,
        COLUMN,
        no_query,
        None,
        success,
    ),
    reads(
        name::LIST_PROCEDURES,
        "List stored procedures, or describe those in `ids`",
        "/_proc",
        listing_query,
        name_list,
    ),
    reads(
        name::READ_PROCEDURE,
        "Call a stored procedure that is declared to change nothing",
        PROCEDURE,
        call_query,
        called,
    ),
    writes(
        name::CALL_PROCEDURE,
        "Call a stored procedure",
        Method::POST,
        PROCEDURE,
        call_query,
        Some(call_body),
        called,
    ),
    reads(
        name::LIST_FUNCTIONS,
        "List stored functions, or describe those in `ids`",
        "/_func",
        listing_query,
        name_list,
    ),
    reads(
        name::READ_FUNCTION,
        "Call a stored function that is declared to change nothing",
        FUNCTION,
        call_query,
        called,
    ),
    writes(
        name::CALL_FUNCTION,
        "Call a stored function",
        Method::POST,
        FUNCTION,
        call_query,
        Some(call_body),
        called,
    ),
];

/// The operations on procedures and functions, which stand last.
#[cfg(any(test, feature = "sqlite", feature = "odbc"))]
const ROUTINES: usize = 6;

/// The same for products without procedures and functions.
#[cfg(any(test, feature = "sqlite", feature = "odbc"))]
pub(super) const OPERATIONS_WITHOUT_ROUTINES: &[Operation] =
    OPERATIONS.split_at(OPERATIONS.len() - ROUTINES).0;

/// One query option of the documentation.
struct QueryOption {
    name: &'static str,
    kind: &'static str,
    description: &'static str,
}

const fn option(name: &'static str, kind: &'static str, description: &'static str) -> QueryOption {
    QueryOption {
        name,
        kind,
        description,
    }
}

fn object_of(options: &[&QueryOption]) -> Schema {
    let properties: serde_json::Map<String, serde_json::Value> = options
        .iter()
        .map(|option| {
            (
                option.name.to_owned(),
                serde_json::json!({ "type": option.kind, "description": option.description }),
            )
        })
        .collect();
    json_schema!({ "type": "object", "properties": properties })
}

fn listing_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[
        &option(
            "fields",
            "string",
            "`*` adds label, description and more to each name.",
        ),
        &option("ids", "string", "Only these names, separated by commas."),
        &option(
            "schema",
            "string",
            "Only what lives in this database schema.",
        ),
        &option("as_list", "boolean", "Answer names only."),
        &option(
            "as_access_list",
            "boolean",
            "Answer the components that a role can name (service root only).",
        ),
        &option(
            "include_access",
            "boolean",
            "Add the verbs that the caller may use.",
        ),
        &refresh(),
    ])
}

fn refresh_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[&refresh()])
}

const fn refresh() -> QueryOption {
    option(
        "refresh",
        "boolean",
        "Read tables and columns anew from the database first.",
    )
}

fn call_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[
        &option(
            "returns",
            "string",
            "Answer only the first value of the first row, as this type: `integer`, `decimal`, `boolean`, `string`, `date`, …",
        ),
        &option(
            "wrapper",
            "string",
            "The member that holds the rows; `resource` where OUT parameters stand beside them.",
        ),
        &option(
            "result",
            "string",
            "`full` answers `{\"result_sets\":[…],\"out\":{…}}` whatever the routine gives.",
        ),
        &option(
            "file",
            "string",
            "Offer the answer as a file: `true`, or its name.",
        ),
        &refresh(),
    ])
}

fn call_body(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "params": {
                "description": "The parameters: by name, or a list by position.",
                "type": ["object", "array", "string"]
            },
            "schema": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Types as which columns and OUT parameters are answered: `{\"total\":\"float\"}`."
            },
            "wrapper": { "type": "string", "description": "The member that holds the rows." },
            "returns": { "type": "string", "description": "Answer only the first value of the first row, as this type." },
            "result": { "type": "string", "enum": ["plain", "full"], "description": "`full` answers result sets and OUT parameters apart." }
        }
    })
}

const fn answer() -> QueryOption {
    option(
        "fields",
        "string",
        "`*` answers what is there afterwards instead of names.",
    )
}

fn answer_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[&answer()])
}

fn create_tables_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[
        &answer(),
        &option(
            "check_exist",
            "boolean",
            "A table that is there already is an error (409) instead of being added to.",
        ),
    ])
}

fn replace_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[
        &answer(),
        &option(
            "force",
            "boolean",
            "Drop the fields that are not mentioned; without it they are an error.",
        ),
    ])
}

fn ids_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[&option(
        "ids",
        "string",
        "What is dropped: names, separated by commas.",
    )])
}

fn no_query(_: &mut SchemaGenerator) -> Schema {
    object_of(&[])
}

fn named(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "name": { "type": "string" } },
        "required": ["name"]
    })
}

fn named_list(generator: &mut SchemaGenerator) -> Schema {
    let items = named(generator);
    json_schema!({ "type": "object", "properties": { "resource": { "type": "array", "items": items } } })
}

fn success(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "properties": { "success": { "const": true } } })
}

/// A list of things, as the bodies of collections have it.
fn body_list(items: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "resource": { "type": "array", "items": items, "minItems": 1 } },
        "required": ["resource"]
    })
}

fn table(generator: &mut SchemaGenerator) -> Schema {
    let fields = field(generator);
    json_schema!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "new_name": { "type": "string", "description": "The name that it is to have." },
            "field": { "type": "array", "items": fields },
            "primary_key": {
                "type": "array", "items": { "type": "string" },
                "description": "Its key, where the order of the fields is not that of the key."
            },
            "index": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": { "type": "string" },
                        "fields": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                        "unique": { "type": "boolean" },
                        "drop": { "type": "boolean", "description": "Drop the index of this name." }
                    }
                }
            },
            "description": { "type": "string", "description": "The comment, where the database keeps any." }
        }
    })
}

/// Whatever a routine gives.
fn called(_: &mut SchemaGenerator) -> Schema {
    json_schema!({})
}

fn table_list(generator: &mut SchemaGenerator) -> Schema {
    body_list(&table(generator))
}

fn field(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "new_name": { "type": "string", "description": "The name that it is to have." },
            "type": {
                "type": "string",
                "description": "A simple type: `id`, `reference`, `integer`, `decimal(12,2)`, `string`, `text`, `boolean`, `json`, `date`, `datetime`, …"
            },
            "length": { "type": "integer", "minimum": 1 },
            "precision": { "type": "integer", "minimum": 1 },
            "scale": { "type": "integer", "minimum": 0 },
            "fixed_length": { "type": "boolean" },
            "supports_multibyte": { "type": "boolean" },
            "allow_null": { "type": "boolean", "description": "False for a new field that does not say." },
            "default": { "description": "A constant, or `{\"expression\": \"NOW()\"}` with one of the functions that are known." },
            "auto_increment": { "type": "boolean" },
            "is_primary_key": { "type": "boolean" },
            "is_unique": { "type": "boolean" },
            "is_index": { "type": "boolean" },
            "is_foreign_key": { "type": "boolean" },
            "ref_table": { "type": ["string", "null"] },
            "ref_field": { "type": ["string", "null"] },
            "ref_on_update": { "type": ["string", "null"] },
            "ref_on_delete": { "type": ["string", "null"] },
            "description": { "type": "string" }
        }
    })
}

fn field_list(generator: &mut SchemaGenerator) -> Schema {
    body_list(&field(generator))
}

fn relation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "type": { "const": "belongs_to" },
            "field": { "type": "string", "description": "Fields of this table, separated by commas." },
            "ref_table": { "type": "string" },
            "ref_field": { "type": "string", "description": "Fields there; the primary key without it." },
            "ref_on_update": { "type": "string" },
            "ref_on_delete": { "type": "string" }
        },
        "required": ["field", "ref_table"]
    })
}

fn relation_list(generator: &mut SchemaGenerator) -> Schema {
    body_list(&relation(generator))
}

fn record(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn record_list_body(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "resource": { "type": "array", "items": { "type": "object" } } },
        "required": ["resource"]
    })
}

fn record_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "resource": { "type": "array", "items": { "type": "object" } },
            "meta": {
                "type": "object",
                "properties": {
                    "count": { "type": "integer", "description": "Matching records." },
                    "next": { "type": "integer", "description": "`offset` of the next page, while there is one." },
                    "next_cursor": { "type": "string", "description": "`cursor` of the next page, while there is one." },
                    "schema": { "type": "object", "description": "The description of the table." }
                }
            }
        },
        "required": ["resource"]
    })
}

fn name_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "resource": {
                "type": "array",
                "items": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] }
            }
        },
        "required": ["resource"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::operation::{Component, find};
    use crate::error::ErrorKind;
    use std::collections::HashSet;

    fn found(method: &Method, path: &str) -> &'static str {
        let segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        find(OPERATIONS, "s", method, &Component::new(segments, false))
            .unwrap()
            .0
            .name
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }

    #[test]
    fn routines_stand_last() {
        let is_routine = |operation: &Operation| {
            operation.path.starts_with("/_proc") || operation.path.starts_with("/_func")
        };
        assert!(!OPERATIONS_WITHOUT_ROUTINES.iter().any(is_routine));
        assert_eq!(
            OPERATIONS
                .iter()
                .filter(|operation| is_routine(operation))
                .count(),
            ROUTINES
        );
    }

    #[test]
    fn the_reserved_words_of_schema_paths_go_before_the_old_spelling() {
        for (path, expected) in [
            ("_schema/t/_field", name::LIST_FIELDS),
            ("_schema/t/_related", name::LIST_RELATIONS),
            ("_schema/t/_field/f", name::DESCRIBE_FIELD),
            ("_schema/t/f", name::DESCRIBE_COLUMN),
            ("_table/t/_field", name::GET_RECORD),
        ] {
            assert_eq!(found(&Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn creating_by_identifier_is_405() {
        let component = Component::new(vec!["_table".into(), "t".into(), "1".into()], false);
        let error = find(OPERATIONS, "s", &Method::POST, &component).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MethodNotAllowed);
        assert_eq!(
            error.allow(),
            Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS")
        );
    }

    #[test]
    fn a_slash_in_a_table_name_does_not_open_a_component() {
        assert_eq!(component_of("_table", "a/b"), "_table/a%2Fb");
    }
}
