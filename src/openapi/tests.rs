use super::*;
use crate::connector::access::{Lookups, Pattern, Rule};
use crate::connector::database::catalog::{Column, DefaultValue, ForeignKey, Type};
use crate::connector::operation::Effect;
use schemars::{Schema, json_schema};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

fn options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "fields": { "type": "string", "description": "Columns to answer with." },
            "limit": { "type": "integer" },
        }
    })
}

fn any_record(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn any_records(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "resource": { "type": "array", "items": { "type": "object" } },
            "meta": { "type": "object", "properties": { "next": { "type": "integer" } } },
        },
        "required": ["resource"],
    })
}

#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Names {
    resource: Vec<Name>,
}

#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Name {
    name: String,
    inner: Option<Box<Name>>,
}

fn names(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Names>()
}

const fn operation(
    name: &'static str,
    method: Method,
    path: &'static str,
    request: Option<SchemaOf>,
    response: SchemaOf,
) -> Operation {
    Operation {
        name,
        summary: "Do something",
        method,
        path,
        effect: Effect::Reads,
        query: Some(options),
        request,
        response: Some(response),
    }
}

const OPERATIONS: &[Operation] = &[
    operation("list_resources", Method::GET, "", None, names),
    operation("list_tables", Method::GET, "/_table", None, names),
    operation("list_records", Method::GET, RECORDS, None, any_records),
    operation(
        "create_records",
        Method::POST,
        RECORDS,
        Some(any_records),
        any_records,
    ),
    operation(
        "update_records",
        Method::PATCH,
        RECORDS,
        Some(any_records),
        any_records,
    ),
    operation(
        "get_record",
        Method::GET,
        "/_table/{table}/{id}",
        None,
        any_record,
    ),
    operation(
        "update_record",
        Method::PATCH,
        "/_table/{table}/{id}",
        Some(any_record),
        any_record,
    ),
    operation(
        "describe_table",
        Method::GET,
        "/_schema/{table}",
        None,
        any_record,
    ),
    operation(
        "describe_field",
        Method::GET,
        "/_schema/{table}/_field/{field}",
        None,
        any_record,
    ),
    operation(
        "read_file",
        Method::GET,
        "/files/{path...}",
        None,
        any_record,
    ),
];

fn column(name: &str, kind: Type) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        db_type: String::new(),
        native: 0,
        is_nullable: false,
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

fn table(name: &str, columns: Vec<Column>) -> Table {
    Table {
        name: name.to_owned(),
        native: name.to_owned(),
        columns,
        primary_key: vec![0],
        is_writable: true,
        ..Table::default()
    }
}

fn shop() -> Description {
    let mut orders = table(
        "order details",
        vec![
            Column {
                is_auto_increment: true,
                ..column("id", Type::BigInt)
            },
            column("customer_id", Type::Integer),
            Column {
                precision: Some(12),
                scale: Some(2),
                description: Some("What it costs".to_owned()),
                ..column("total", Type::Decimal)
            },
            Column {
                is_nullable: true,
                picklist: vec!["open".to_owned(), "paid".to_owned()],
                ..column("state", Type::String)
            },
            Column {
                default: Some(DefaultValue::Literal(json!(1))),
                ..column("count", Type::SmallInt)
            },
            Column {
                is_generated: true,
                ..column("computed", Type::Text)
            },
            Column {
                is_nullable: true,
                ..column("more", Type::Json)
            },
            column("tags", Type::Array(Box::new(Type::Uuid))),
            Column {
                is_nullable: true,
                ..column("at", Type::TimestampTz)
            },
        ],
    );
    let to = |columns: Vec<usize>, target: &str| ForeignKey {
        name: String::new(),
        columns,
        target: target.to_owned(),
        target_columns: vec!["id".to_owned()],
        on_update: "NO ACTION".to_owned(),
        on_delete: "NO ACTION".to_owned(),
    };
    orders.foreign_keys = vec![to(vec![1], "customer")];
    let customer = table(
        "customer",
        vec![
            column("id", Type::Integer),
            Column {
                length: Some(40),
                ..column("email", Type::String)
            },
            column("password", Type::String),
        ],
    );
    let view = Table {
        is_view: true,
        is_writable: false,
        primary_key: Vec::new(),
        ..table("report", vec![column("total", Type::Double)])
    };
    let link = Table {
        primary_key: vec![0, 1],
        ..table(
            "link",
            vec![column("a", Type::Integer), column("b", Type::Integer)],
        )
    };
    // A junction between orders and customers that not everybody may read.
    let mut secret = table(
        "secret",
        vec![
            column("order_id", Type::BigInt),
            column("customer_id", Type::Integer),
        ],
    );
    secret.foreign_keys = vec![to(vec![0], "order details"), to(vec![1], "customer")];
    Description::Database(Arc::new(Catalog::new(vec![
        orders, customer, view, link, secret,
    ])))
}

fn rule(pattern: &str, methods: &[Method], fields: Option<&[&str]>) -> Rule {
    Rule {
        names_service: true,
        pattern: Pattern::parse(pattern).unwrap(),
        verbs: methods
            .iter()
            .map(Verbs::of)
            .fold(Verbs::NONE, Verbs::union),
        deny: false,
        filter: None,
        fields: fields.map(|fields| {
            let fields: BTreeSet<String> = fields.iter().map(|name| (*name).to_owned()).collect();
            Arc::new(fields)
        }),
        position: Arc::from(pattern),
    }
}

fn described<'a>(
    name: &'a str,
    details: &'a Description,
    rules: Vec<Rule>,
) -> ServiceDescription<'a> {
    ServiceDescription {
        name,
        label: "The shop",
        description: "What is sold",
        operations: OPERATIONS,
        details,
        access: Access::new("reader", name, rules, Arc::new(Lookups::default())),
    }
}

fn everything() -> Vec<Rule> {
    vec![rule("*", &[Method::GET, Method::POST, Method::PATCH], None)]
}

fn paths(document: &Value) -> Vec<&str> {
    document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Every object within a document, with its pointer.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|member| walk(member, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

/// The parts of OpenAPI 3.1 that documents of this module use, after section 4.8 of the specification.
fn shape_of_a_document() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["openapi", "info", "paths"],
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
        "properties": {
            "openapi": { "type": "string", "pattern": "^3\\.1\\.\\d+$" },
            "info": {
                "type": "object",
                "required": ["title", "version"],
                "additionalProperties": false,
                "properties": {
                    "title": { "type": "string", "minLength": 1 },
                    "description": { "type": "string" },
                    "version": { "type": "string" },
                },
            },
            "servers": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["url"], "additionalProperties": false,
                    "properties": { "url": { "type": "string" } },
                },
            },
            "security": { "$ref": "#/$defs/security" },
            "tags": {
                "type": "array",
                "items": {
                    "type": "object", "required": ["name"], "additionalProperties": false,
                    "properties": { "name": { "type": "string" }, "description": { "type": "string" } },
                },
            },
            "paths": {
                "type": "object",
                "patternProperties": { "^/": { "$ref": "#/$defs/path" } },
                "additionalProperties": false,
            },
            "components": {
                "type": "object",
                "additionalProperties": false,
                "propertyNames": { "enum": ["schemas", "parameters", "responses", "securitySchemes"] },
                "patternProperties": { "": {
                    "type": "object", "propertyNames": { "pattern": "^[a-zA-Z0-9._-]+$" },
                } },
                "properties": {
                    "schemas": { "additionalProperties": { "$ref": "https://json-schema.org/draft/2020-12/schema" } },
                    "parameters": { "additionalProperties": { "$ref": "#/$defs/parameter" } },
                    "responses": { "additionalProperties": { "$ref": "#/$defs/response" } },
                    "securitySchemes": { "additionalProperties": {
                        "type": "object", "required": ["type", "in", "name"], "additionalProperties": false,
                        "properties": {
                            "type": { "const": "apiKey" },
                            "in": { "enum": ["query", "header", "cookie"] },
                            "name": { "type": "string" },
                            "description": { "type": "string" },
                        },
                    } },
                },
            },
        },
        "$defs": {
            "security": {
                "type": "array",
                "items": { "type": "object", "additionalProperties": { "type": "array", "items": { "type": "string" } } },
            },
            "reference": {
                "type": "object", "required": ["$ref"], "additionalProperties": false,
                "properties": { "$ref": { "type": "string", "pattern": "^#/components/" } },
            },
            "path": {
                "type": "object",
                "propertyNames": { "enum": ["get", "put", "post", "delete", "options", "head", "patch", "trace"] },
                "additionalProperties": { "$ref": "#/$defs/operation" },
            },
            "operation": {
                "type": "object",
                "required": ["responses", "operationId"],
                "additionalProperties": false,
                "properties": {
                    "tags": { "type": "array", "items": { "type": "string" } },
                    "summary": { "type": "string" },
                    "description": { "type": "string" },
                    "operationId": { "type": "string", "pattern": "^[A-Za-z0-9_]+$" },
                    "parameters": {
                        "type": "array", "uniqueItems": true,
                        "items": { "if": { "required": ["$ref"] }, "then": { "$ref": "#/$defs/reference" },
                                   "else": { "$ref": "#/$defs/parameter" } },
                    },
                    "requestBody": {
                        "type": "object", "required": ["content"], "additionalProperties": false,
                        "properties": {
                            "required": { "type": "boolean" },
                            "content": { "$ref": "#/$defs/content" },
                        },
                    },
                    "responses": {
                        "type": "object", "minProperties": 1,
                        "propertyNames": { "pattern": "^([1-5](\\d\\d|XX)|default)$" },
                        "additionalProperties": {
                            "if": { "required": ["$ref"] }, "then": { "$ref": "#/$defs/reference" },
                            "else": { "$ref": "#/$defs/response" },
                        },
                    },
                },
            },
            "parameter": {
                "type": "object",
                "required": ["name", "in", "schema"],
                "additionalProperties": false,
                "properties": {
                    "name": { "type": "string" },
                    "in": { "enum": ["query", "header", "path", "cookie"] },
                    "description": { "type": "string" },
                    "required": { "type": "boolean" },
                    "schema": { "$ref": "https://json-schema.org/draft/2020-12/schema" },
                },
                "if": { "properties": { "in": { "const": "path" } } },
                "then": { "required": ["required"], "properties": { "required": { "const": true } } },
            },
            "response": {
                "type": "object", "required": ["description"], "additionalProperties": false,
                "properties": {
                    "description": { "type": "string" },
                    "content": { "$ref": "#/$defs/content" },
                },
            },
            "content": {
                "type": "object",
                "propertyNames": { "pattern": "^[a-z]+/[a-z0-9.+-]+$" },
                "additionalProperties": {
                    "type": "object", "additionalProperties": false,
                    "properties": { "schema": { "$ref": "https://json-schema.org/draft/2020-12/schema" } },
                },
            },
        },
    })
}

fn assert_valid(document: &Value) {
    let shape = jsonschema::validator_for(&shape_of_a_document()).unwrap();
    let problems: Vec<String> = shape
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");

    walk(document, &mut |members| {
        if let Some(Value::String(reference)) = members.get("$ref") {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
    });
    let tags: HashSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = HashSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{path}"
            );
            for tag in operation["tags"].as_array().unwrap() {
                assert!(
                    tags.contains(tag.as_str().unwrap()),
                    "{tag} is not declared"
                );
            }
            let resolved: Vec<&Value> = operation
                .get("parameters")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|parameter| match parameter.get("$ref") {
                    Some(reference) => document
                        .pointer(reference.as_str().unwrap().trim_start_matches('#'))
                        .unwrap(),
                    None => parameter,
                })
                .collect();
            let declared: HashSet<&str> = resolved
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let named: HashSet<&str> = path_parameters(path).collect();
            assert_eq!(declared, named, "{path}");
            assert!(!path.contains("..."), "{path}");
        }
    }
}

#[test]
fn documents_are_valid_for_one_service_for_all_and_for_none() {
    let details = shop();
    let general = Description::General;
    let shop = || described("shop", &details, everything());
    let other = || described("other", &general, everything());
    for document in [
        document(&[shop()], true, "g1-abc"),
        document(&[shop(), other()], false, "g1-abc"),
        document(&[other()], true, "g1-abc"),
        document(&[], false, "g1-abc"),
    ] {
        assert_valid(&document);
        assert_eq!(document["x-tidegate-revision"], "g1-abc");
    }
}

#[test]
fn paths_are_relative_to_their_server() {
    let details = shop();
    let alone = document(&[described("shop", &details, everything())], true, "r");
    assert_eq!(alone["servers"][0]["url"], "/api/v2/shop");
    assert_eq!(alone["info"]["title"], "The shop");
    assert_eq!(
        paths(&alone),
        [
            "/",
            "/_table",
            "/_table/order%20details",
            "/_table/customer",
            "/_table/report",
            "/_table/link",
            "/_table/secret",
            "/_table/order%20details/{id}",
            "/_table/customer/{id}",
            "/_table/report/{id}",
            "/_table/link/{id}",
            "/_table/secret/{id}",
            "/_schema/{table}",
            "/_schema/{table}/_field/{field}",
            "/files/{path}",
        ]
    );
    let all = document(&[described("shop", &details, everything())], false, "r");
    assert_eq!(all["servers"][0]["url"], "/api/v2");
    assert!(paths(&all).contains(&"/shop/_table/customer"));
    assert!(paths(&all).contains(&"/shop"));
}

#[test]
fn only_what_the_role_admits_is_in_the_document() {
    let details = shop();
    let rules = vec![
        rule("_table/customer/*", &[Method::GET], Some(&["id", "email"])),
        rule("_table/order details", &[Method::GET], None),
        rule("_schema/customer", &[Method::GET], None),
    ];
    let document = document(&[described("shop", &details, rules)], true, "r");
    assert_valid(&document);
    assert_eq!(
        paths(&document),
        [
            "/_table/order%20details",
            "/_table/customer",
            "/_table/customer/{id}",
            "/_schema/{table}",
        ]
    );
    let text = document.to_string();
    for hidden in ["password", "secret", "report", "\"post\"", "\"patch\""] {
        assert!(!text.contains(hidden), "{hidden} is in the document");
    }
    assert_eq!(
        document["paths"]["/_schema/{table}"]["get"]["parameters"][0]["schema"]["enum"],
        json!(["customer"])
    );
    assert_eq!(
        document["paths"]["/_table/order%20details"]["get"]["description"],
        "Can embed with `related`: `customer_by_customer_id`."
    );
}

#[test]
fn a_relation_over_a_hidden_column_is_not_named() {
    let details = shop();
    let rules = vec![
        rule("_table/customer/*", &[Method::GET], Some(&["email"])),
        rule("_table/order details", &[Method::GET], None),
    ];
    let document = document(&[described("shop", &details, rules)], true, "r");
    assert!(
        document["paths"]["/_table/order%20details"]["get"]
            .get("description")
            .is_none()
    );
}

#[test]
fn a_denied_component_is_left_out() {
    let details = shop();
    let mut rules = everything();
    rules.push(Rule {
        deny: true,
        ..rule(
            "_table/secret/*",
            &[Method::GET, Method::POST, Method::PATCH],
            None,
        )
    });
    let document = document(&[described("shop", &details, rules)], true, "r");
    assert!(!document["paths"].to_string().contains("_table/secret"));
}

#[test]
fn columns_have_their_exact_types() {
    let details = shop();
    let document = document(&[described("shop", &details, everything())], true, "r");
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["shop.order_details"],
        json!({
            "type": "object",
            "properties": {
                "id": { "type": "integer", "format": "int64", "readOnly": true },
                "customer_id": { "type": "integer", "format": "int32" },
                "total": {
                    "type": "number", "format": "decimal",
                    "description": "What it costs (12 digits, 2 after the point)",
                },
                "state": { "type": ["string", "null"], "enum": ["open", "paid", null] },
                "count": { "type": "integer", "format": "int16" },
                "computed": { "type": "string", "readOnly": true },
                "more": {},
                "tags": { "type": "array", "items": { "type": ["string", "null"], "format": "uuid" } },
                "at": { "type": ["string", "null"], "format": "date-time" },
            },
        })
    );
    let create = &schemas["shop.order_details.create"];
    assert_eq!(create["required"], json!(["customer_id", "total", "tags"]));
    assert!(create["properties"].get("computed").is_none());
    assert_eq!(create["properties"]["count"]["default"], 1);
    assert!(
        schemas["shop.order_details.change"]
            .get("required")
            .is_none()
    );
    assert_eq!(
        schemas["shop.customer"]["properties"]["email"]["maxLength"],
        40
    );
}

#[test]
fn lists_hold_the_records_of_their_table() {
    let details = shop();
    let document = document(&[described("shop", &details, everything())], true, "r");
    let get = &document["paths"]["/_table/customer"]["get"];
    assert_eq!(
        get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/shop.customer.list"
    );
    assert_eq!(
        document["components"]["schemas"]["shop.customer.list"]["properties"]["resource"]["items"]
            ["$ref"],
        "#/components/schemas/shop.customer"
    );
    assert_eq!(
        document["paths"]["/_table/customer/{id}"]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"]["$ref"],
        "#/components/schemas/shop.customer"
    );
}

#[test]
fn views_are_read_only_and_keys_are_described() {
    let details = shop();
    let document = document(&[described("shop", &details, everything())], true, "r");
    let report = document["paths"]["/_table/report"].as_object().unwrap();
    assert_eq!(report.keys().collect::<Vec<_>>(), ["get"]);
    let id = |path: &str| document["paths"][path]["get"]["parameters"][0].clone();
    assert_eq!(
        id("/_table/customer/{id}")["schema"],
        json!({ "type": "integer", "format": "int32" })
    );
    assert_eq!(
        id("/_table/link/{id}")["description"],
        "The key of the record, percent-encoded: `a=…,b=…`."
    );
    assert!(
        id("/_table/report/{id}")["description"]
            .as_str()
            .unwrap()
            .contains("id_field")
    );
}

#[test]
fn the_error_envelope_lists_every_type() {
    let document = document(&[], false, "r");
    let names = document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["type"]
        ["enum"]
        .as_array()
        .unwrap();
    assert_eq!(names.len(), ErrorKind::ALL.len());
}

#[test]
fn names_that_look_alike_stay_apart() {
    let details = Description::Database(Arc::new(Catalog::new(vec![
        table("a b", vec![column("x", Type::Integer)]),
        table("a_b", vec![column("y", Type::Integer)]),
        table("a+b", vec![column("y", Type::Integer)]),
    ])));
    let document = document(&[described("s", &details, everything())], true, "r");
    assert_valid(&document);
    let schemas = &document["components"]["schemas"];
    assert!(schemas["s.a_b"]["properties"].get("x").is_some());
    assert!(schemas["s.a_b_2"]["properties"].get("y").is_some());
}

#[test]
fn routines_are_written_out_with_their_parameters_and_what_they_answer() {
    use crate::connector::database::catalog::{
        Catalog, Direction, Parameter, Returns, Routine, RoutineKind, Routines,
    };
    let parameter = |name: &str, direction| Parameter {
        direction,
        has_default: false,
        is_variadic: false,
        is_cursor: false,
        column: Column::plain(name, Type::Integer, "integer"),
    };
    let routine = |name: &str, kind, parameters, returns, is_read_only| Routine {
        name: name.to_owned(),
        schema: None,
        native: name.to_owned(),
        kind,
        parameters,
        returns,
        is_read_only,
        description: Some(format!("About {name}")),
    };
    let amount = Column::plain("total", Type::Decimal, "numeric");
    let catalog = Catalog::new(Vec::new()).with_routines(Routines::new(vec![
        routine(
            "close_month",
            RoutineKind::Procedure,
            vec![
                parameter("p_year", Direction::In),
                parameter("p_done", Direction::Out),
            ],
            Returns::Nothing,
            false,
        ),
        routine(
            "invoice_total",
            RoutineKind::Function,
            vec![parameter("p_customer", Direction::In)],
            Returns::Value(Box::new(amount.clone())),
            true,
        ),
        routine(
            "secret",
            RoutineKind::Function,
            vec![],
            Returns::Table(vec![amount]),
            true,
        ),
    ]));
    let operations = [
        operation(
            "read_procedure",
            Method::GET,
            "/_proc/{routine()}",
            None,
            any_record,
        ),
        operation(
            "call_procedure",
            Method::POST,
            "/_proc/{routine()}",
            Some(called),
            any_record,
        ),
        operation(
            "read_function",
            Method::GET,
            "/_func/{routine()}",
            None,
            any_record,
        ),
    ];
    let details = Description::Database(Arc::new(catalog));
    let rules = vec![
        rule("_proc/*", &[Method::GET, Method::POST], None),
        rule("_func/*", &[Method::GET], None),
        rule("_func/secret", &[Method::GET], Some(&["total"])),
    ];
    let service = ServiceDescription {
        name: "db",
        label: "",
        description: "",
        operations: &operations,
        details: &details,
        access: Access::new("r", "db", rules, Arc::default()),
    };
    let document = document(&[service], true, "g1");
    assert_valid(&document);
    assert_eq!(
        paths(&document),
        ["/_proc/close_month", "/_func/invoice_total"]
    );
    let call = &document["paths"]["/_proc/close_month"];
    assert!(call.get("get").is_none(), "nothing says that it only reads");
    let call = &call["post"];
    assert_eq!(call["operationId"], "db_call_procedure_close_month");
    assert_eq!(
        call["requestBody"]["content"]["application/json"]["schema"]["properties"]["params"]["properties"],
        json!({"p_year": {"type": ["integer", "null"], "format": "int32"}})
    );
    assert_eq!(
        call["responses"]["200"]["content"]["application/json"]["schema"]["properties"],
        json!({"p_done": {"type": ["integer", "null"], "format": "int32"}})
    );
    let read = &document["paths"]["/_func/invoice_total"]["get"];
    assert_eq!(read["parameters"][0]["name"], "p_customer");
    assert_eq!(
        read["responses"]["200"]["content"]["application/json"]["schema"],
        json!({"type": ["number", "null"], "format": "decimal"})
    );
}

fn called(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "params": { "type": ["object", "array"] } },
    })
}

#[test]
fn what_the_manifest_says_of_columns_is_in_the_schemas() {
    let Description::Database(catalog) = shop() else {
        panic!("the shop is a database");
    };
    let said = json!({"customer": {
        "alias": "client",
        "column": {
            "password": {"hidden": true},
            "email": {"alias": "address", "label": "Address", "create_only": true, "validation": {"email": true}},
        },
    }, "order details": {
        "column": {
            "total": {"read_only": true},
            "customer_id": {"default": 7, "validation": {"int": {"min": 1}}},
            "count": {"type": "boolean"},
            "at": {"on_update": "now"},
        },
    }});
    let served = Catalog::clone(&catalog).with(&serde_json::from_value(said).unwrap());
    assert!(served.notices.is_empty(), "{:?}", served.notices);
    let grant = Grant {
        filter: None,
        fields: None,
        position: Arc::from("row"),
        named_segments: 0,
    };
    let record = |table: &str, purpose| {
        let table = served.catalog.get(table).unwrap();
        columns::record(table, &grant, purpose)
    };
    assert_eq!(
        record("client", Purpose::Create),
        json!({"type": "object", "properties": {
            "id": {"type": "integer", "format": "int32"},
            "address": {"type": "string", "format": "email", "maxLength": 40, "title": "Address"},
        }, "required": ["id", "address"]})
    );
    let change = record("client", Purpose::Change);
    assert_eq!(change["properties"].get("address"), None);
    let create = record("order details", Purpose::Create);
    assert_eq!(create["required"], json!(["tags"]));
    assert_eq!(
        create["properties"]["customer_id"],
        json!({"type": "integer", "format": "int32", "minimum": 1, "default": 7})
    );
    assert_eq!(create["properties"]["count"]["type"], "boolean");
    for absent in ["total", "at"] {
        assert_eq!(create["properties"].get(absent), None, "{absent}");
    }
    let answer = record("order details", Purpose::Answer);
    assert_eq!(answer["properties"]["total"]["readOnly"], true);
}
