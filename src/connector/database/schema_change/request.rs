//! Bodies of changes → what they want. Knows nothing of what is there.

use serde_json::{Map, Value};

use super::{ColumnType, NewDefault, Rule, Size, Text};
use crate::connector::filter::TIME_FUNCTIONS;
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// Most tables, fields or indexes in one request.
const MOST_ITEMS: usize = 1_000;
/// Most digits of a decimal.
const MOST_DIGITS: u32 = 1_000;
/// Longest text or bytes that a new length can say; descriptions may tell longer ones.
pub(super) const LONGEST: u32 = 10_485_760;

/// How requests name the things that they are about, for messages.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Naming {
    /// `create`, `update` or `delete`.
    pub(in super::super) verb: &'static str,
    /// Whether members that nobody knows, or that belong into manifests, are passed over.
    pub(in super::super) is_lenient: bool,
}

/// A table as a request wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct WantedTable {
    pub(in super::super) name: Option<String>,
    pub(super) new_name: Option<String>,
    pub(super) fields: Vec<WantedField>,
    pub(super) indexes: Vec<WantedIndex>,
    /// The comment; an empty one takes it away.
    pub(super) description: Option<String>,
    /// The primary key, by names.
    pub(super) primary_key: Option<Vec<String>>,
    /// Members that only say again what a description shows.
    pub(super) told: Map<String, Value>,
}

impl WantedTable {
    /// The name that it is to have.
    pub(in super::super) fn new_name(&self) -> Option<&str> {
        self.new_name.as_deref()
    }
}

impl WantedField {
    /// The name that it has when all is done.
    pub(in super::super) fn final_name(&self) -> Option<&str> {
        self.new_name.as_deref().or(self.name.as_deref())
    }
}

/// An index as a request wants it.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct WantedIndex {
    pub(super) name: Option<String>,
    pub(super) fields: Vec<String>,
    pub(super) is_unique: bool,
    pub(super) drop: bool,
}

/// A field as a request wants it. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct WantedField {
    pub(in super::super) name: Option<String>,
    pub(super) new_name: Option<String>,
    pub(super) kind: Option<WantedType>,
    pub(super) length: Option<u32>,
    pub(super) precision: Option<u32>,
    pub(super) scale: Option<u32>,
    pub(super) is_fixed: Option<bool>,
    pub(super) is_multibyte: Option<bool>,
    pub(super) allow_null: Option<bool>,
    /// As it was written: what a description says again need not be understood.
    pub(super) default: Option<Value>,
    pub(super) is_numbered: Option<bool>,
    pub(super) is_primary_key: Option<bool>,
    pub(super) is_unique: Option<bool>,
    pub(super) is_index: Option<bool>,
    pub(super) is_foreign_key: Option<bool>,
    #[expect(
        clippy::option_option,
        reason = "that nothing is said, and that it refers to nothing, are two things"
    )]
    pub(super) ref_table: Option<Option<String>>,
    pub(super) ref_field: Option<String>,
    pub(super) on_update: Option<Rule>,
    pub(super) on_delete: Option<Rule>,
    pub(super) description: Option<String>,
    pub(super) told: Map<String, Value>,
}

/// A relation as a request wants it: a foreign key of this table.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct WantedRelation {
    pub(in super::super) name: Option<String>,
    pub(in super::super) fields: Vec<String>,
    pub(super) ref_table: String,
    pub(super) ref_fields: Vec<String>,
    pub(super) on_update: Option<Rule>,
    pub(super) on_delete: Option<Rule>,
}

/// A simple type as it was written, and what it means beside a type of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedType {
    /// The word, synonyms put right: `id`, `reference`, `string`.
    pub(super) word: &'static str,
    pub(super) meaning: Meaning,
    /// Dimensions that stood in parentheses behind it.
    pub(super) dimensions: Option<(u32, Option<u32>)>,
}

/// What a simple type means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A column of this type.
    Plain(ColumnType),
    /// A primary key that the database numbers.
    Key(ColumnType),
    /// A foreign key, of the type that it points to.
    Reference,
    /// The time at which the record was made.
    CreatedAt,
    /// The time at which the record was changed last.
    UpdatedAt,
}

/// Every simple type and synonym: what is written, its own word, what it means.
const TYPES: &[(&str, &str, Meaning)] = &[
    ("id", "id", Meaning::Key(ColumnType::Integer)),
    ("pk", "id", Meaning::Key(ColumnType::Integer)),
    ("bigid", "bigid", Meaning::Key(ColumnType::BigInt)),
    ("mediumid", "mediumid", Meaning::Key(ColumnType::MediumInt)),
    ("smallid", "smallid", Meaning::Key(ColumnType::SmallInt)),
    ("reference", "reference", Meaning::Reference),
    ("fk", "reference", Meaning::Reference),
    (
        "timestamp_on_create",
        "timestamp_on_create",
        Meaning::CreatedAt,
    ),
    (
        "timestamp_on_update",
        "timestamp_on_update",
        Meaning::UpdatedAt,
    ),
    ("tinyint", "tinyint", Meaning::Plain(ColumnType::TinyInt)),
    ("smallint", "smallint", Meaning::Plain(ColumnType::SmallInt)),
    (
        "mediumint",
        "mediumint",
        Meaning::Plain(ColumnType::MediumInt),
    ),
    ("integer", "integer", Meaning::Plain(ColumnType::Integer)),
    ("int", "integer", Meaning::Plain(ColumnType::Integer)),
    ("bigint", "bigint", Meaning::Plain(ColumnType::BigInt)),
    (
        "decimal",
        "decimal",
        Meaning::Plain(ColumnType::Decimal(None)),
    ),
    (
        "numeric",
        "decimal",
        Meaning::Plain(ColumnType::Decimal(None)),
    ),
    ("money", "money", Meaning::Plain(ColumnType::Money)),
    ("float", "float", Meaning::Plain(ColumnType::Float)),
    ("double", "double", Meaning::Plain(ColumnType::Double)),
    ("string", "string", Meaning::Plain(ColumnType::String(TEXT))),
    (
        "varchar",
        "string",
        Meaning::Plain(ColumnType::String(TEXT)),
    ),
    (
        "char",
        "string",
        Meaning::Plain(ColumnType::String(Text {
            is_fixed: true,
            ..TEXT
        })),
    ),
    (
        "nvarchar",
        "string",
        Meaning::Plain(ColumnType::String(Text {
            is_multibyte: true,
            ..TEXT
        })),
    ),
    (
        "nchar",
        "string",
        Meaning::Plain(ColumnType::String(Text {
            is_fixed: true,
            is_multibyte: true,
            ..TEXT
        })),
    ),
    (
        "text",
        "text",
        Meaning::Plain(ColumnType::Text(Size::Plain)),
    ),
    (
        "mediumtext",
        "mediumtext",
        Meaning::Plain(ColumnType::Text(Size::Medium)),
    ),
    (
        "longtext",
        "longtext",
        Meaning::Plain(ColumnType::Text(Size::Long)),
    ),
    ("uuid", "uuid", Meaning::Plain(ColumnType::Uuid)),
    ("timeuuid", "uuid", Meaning::Plain(ColumnType::Uuid)),
    ("boolean", "boolean", Meaning::Plain(ColumnType::Boolean)),
    ("bool", "boolean", Meaning::Plain(ColumnType::Boolean)),
    ("binary", "binary", Meaning::Plain(ColumnType::Binary(None))),
    (
        "varbinary",
        "binary",
        Meaning::Plain(ColumnType::Binary(None)),
    ),
    ("json", "json", Meaning::Plain(ColumnType::Json)),
    ("object", "json", Meaning::Plain(ColumnType::Json)),
    ("jsonb", "jsonb", Meaning::Plain(ColumnType::JsonB)),
    ("date", "date", Meaning::Plain(ColumnType::Date)),
    ("time", "time", Meaning::Plain(ColumnType::Time)),
    ("timetz", "timetz", Meaning::Plain(ColumnType::TimeTz)),
    ("datetime", "datetime", Meaning::Plain(ColumnType::DateTime)),
    (
        "datetimetz",
        "timestamptz",
        Meaning::Plain(ColumnType::TimestampTz),
    ),
    (
        "timestamp",
        "timestamp",
        Meaning::Plain(ColumnType::Timestamp),
    ),
    (
        "timestamptz",
        "timestamptz",
        Meaning::Plain(ColumnType::TimestampTz),
    ),
];

const TEXT: Text = Text {
    length: None,
    is_fixed: false,
    is_multibyte: false,
};

/// Simple types that no field here can have, and why.
const REFUSED_TYPES: &[(&str, &str)] = &[
    ("user_id", "users have no numbers here; write `string`"),
    (
        "user_id_on_create",
        "users have no numbers here; write `string`",
    ),
    (
        "user_id_on_update",
        "users have no numbers here; write `string`",
    ),
    ("array", "write `json`, which holds arrays"),
    (
        "virtual",
        "a field without a column is no part of the database",
    ),
    ("column", "it belongs to routines"),
    ("row", "it belongs to routines"),
    ("table", "it belongs to routines"),
    ("ref_cursor", "it belongs to routines"),
];

/// Members that belong into manifests.
const IN_MANIFESTS: &[&str] = &[
    "alias",
    "label",
    "plural",
    "name_field",
    "picklist",
    "value",
    "validation",
    "client_info",
    "db_function",
    "is_virtual",
    "is_aggregate",
];
/// Members of a description of a table that a request may only say again.
const TOLD_OF_TABLES: &[&str] = &["native", "is_view", "related", "constraints", "access"];
/// The same of a field.
const TOLD_OF_FIELDS: &[&str] = &["native", "db_type", "required"];
/// Members that would be SQL.
const RAW: &[&str] = &["sql", "options", "expression", "sql_expression"];

const TABLE_MEMBERS: &[&str] = &[
    "name",
    "new_name",
    "field",
    "index",
    "description",
    "primary_key",
];
const FIELD_MEMBERS: &[&str] = &[
    "name",
    "new_name",
    "type",
    "length",
    "precision",
    "scale",
    "fixed_length",
    "supports_multibyte",
    "allow_null",
    "default",
    "auto_increment",
    "is_primary_key",
    "is_unique",
    "is_index",
    "is_foreign_key",
    "ref_table",
    "ref_field",
    "ref_on_update",
    "ref_on_delete",
    "description",
];
const INDEX_MEMBERS: &[&str] = &["name", "fields", "unique", "drop"];
const RELATION_MEMBERS: &[&str] = &[
    "name",
    "type",
    "field",
    "ref_table",
    "ref_field",
    "ref_on_update",
    "ref_on_delete",
];
/// Members of a description of a relation that a request may leave empty.
const EMPTY_OF_RELATIONS: &[&str] = &[
    "native",
    "is_virtual",
    "ref_service_id",
    "junction_service_id",
    "junction_table",
    "junction_field",
    "junction_ref_field",
    "always_fetch",
    "flatten",
    "flatten_drop_prefix",
    "alias",
    "label",
    "description",
];

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidBody, message.into())
}

/// The whole body as JSON.
fn document(bytes: &[u8]) -> Result<Option<Value>> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        invalid(format!(
            "the body is not valid JSON: line {}, column {}",
            error.line(),
            error.column()
        ))
        .with_source(error)
    })
}

/// The items of `{"resource":[…]}` or of a plain list.
fn items(document: Option<Value>, naming: Naming) -> Result<Vec<Value>> {
    let list = match document {
        Some(Value::Array(list)) => Some(list),
        Some(Value::Object(mut object)) => match object.shift_remove("resource") {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        },
        _ => None,
    };
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Err(
            invalid(format!("no data in schema {} request", naming.verb))
                .with_help("send {\"resource\": [{\"name\": …}]}"),
        );
    };
    bounded(list)
}

fn bounded<T>(list: Vec<T>) -> Result<Vec<T>> {
    if list.len() > MOST_ITEMS {
        return Err(invalid(format!(
            "a request names at most {MOST_ITEMS} things of one kind"
        )));
    }
    Ok(list)
}

/// Tables of a body: a list where the path names none, one where it does.
pub(in super::super) fn tables_of(
    bytes: &[u8],
    naming: Naming,
    is_one: bool,
) -> Result<Vec<WantedTable>> {
    let list = one_or_items(bytes, naming, is_one)?;
    list.into_iter().map(|value| table(value, naming)).collect()
}

/// Fields of a body, likewise.
pub(in super::super) fn fields_of(
    bytes: &[u8],
    naming: Naming,
    is_one: bool,
) -> Result<Vec<WantedField>> {
    let list = one_or_items(bytes, naming, is_one)?;
    list.into_iter().map(|value| field(value, naming)).collect()
}

/// Relations of a body, likewise.
pub(in super::super) fn relations_of(
    bytes: &[u8],
    naming: Naming,
    is_one: bool,
) -> Result<Vec<WantedRelation>> {
    let list = one_or_items(bytes, naming, is_one)?;
    list.into_iter()
        .map(|value| relation(value, naming))
        .collect()
}

fn one_or_items(bytes: &[u8], naming: Naming, is_one: bool) -> Result<Vec<Value>> {
    let document = document(bytes)?;
    if !is_one {
        return items(document, naming);
    }
    match document {
        Some(Value::Object(object)) if !object.is_empty() => Ok(vec![Value::Object(object)]),
        _ => Err(
            invalid(format!("no data in schema {} request", naming.verb)).with_help(
                "send the description of the one thing that the path names, as an object",
            ),
        ),
    }
}

/// Names in the body of a DELETE: `{"ids":[…]}`, `{"resource":[{"name":…}]}` or a list of either.
pub(in super::super) fn names_of(bytes: &[u8], naming: Naming) -> Result<Vec<String>> {
    let Some(document) = document(bytes)? else {
        return Ok(Vec::new());
    };
    let list = match document {
        Value::Object(mut object) => {
            let ids = object.shift_remove("ids");
            match ids {
                Some(Value::Array(list)) => list,
                Some(Value::String(text)) => text
                    .split(',')
                    .map(|name| Value::from(name.trim()))
                    .collect(),
                Some(_) => return Err(invalid("'ids' is a list of names")),
                None => items(Some(Value::Object(object)), naming)?,
            }
        }
        other => items(Some(other), naming)?,
    };
    bounded(list)?
        .into_iter()
        .map(|item| match item {
            Value::String(name) => Ok(name),
            Value::Object(mut object) => match object.shift_remove("name") {
                Some(Value::String(name)) => Ok(name),
                _ => Err(invalid("a name is missing")),
            },
            _ => Err(invalid("a name is a text")),
        })
        .collect()
}

/// A member's place in the body, for messages.
struct Members<'a> {
    what: &'a str,
    object: Map<String, Value>,
}

impl Members<'_> {
    fn wrong(&self, name: &str, expected: &str) -> Error {
        invalid(format!("'{name}' of {} must be {expected}", self.what))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.object.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    fn truth(&mut self, name: &str) -> Result<Option<bool>> {
        match self.object.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(Value::Number(number)) if number.as_u64() == Some(0) => Ok(Some(false)),
            Some(Value::Number(number)) if number.as_u64() == Some(1) => Ok(Some(true)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    fn number(&mut self, name: &str, most: u32) -> Result<Option<u32>> {
        match self.object.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number <= most)
                .map(Some)
                .ok_or_else(|| self.wrong(name, &format!("a whole number of at most {most}"))),
            Some(_) => Err(self.wrong(name, "a whole number")),
        }
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>> {
        match self.object.shift_remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => bounded(list),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    fn names(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let list = match self.object.shift_remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => return Ok(Some(vec![text])),
            Some(Value::Array(list)) => bounded(list)?,
            Some(_) => return Err(self.wrong(name, "a list of names")),
        };
        list.into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(self.wrong(name, "a list of names")),
            })
            .collect::<Result<_>>()
            .map(Some)
    }

    fn rule(&mut self, name: &str) -> Result<Option<Rule>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let upper = text.trim().to_ascii_uppercase().replace('_', " ");
        let rule = Rule::ALL.into_iter().find(|rule| rule.words() == upper);
        rule.map(Some).ok_or_else(|| {
            self.wrong(
                name,
                "NO ACTION, RESTRICT, CASCADE, SET NULL or SET DEFAULT",
            )
        })
    }

    /// What is left: members that only say again what is so, and nothing else.
    fn told(self, known: &[&str], told: &[&str], naming: Naming) -> Result<Map<String, Value>> {
        let mut rest = Map::new();
        for (name, value) in self.object {
            let is_known = told.contains(&name.as_str()) || IN_MANIFESTS.contains(&name.as_str());
            if RAW.contains(&name.as_str()) {
                return Err(invalid(format!("'{name}' of {} is never taken", self.what))
                    .with_help(
                        "no SQL is taken from requests; say what is wanted by the other members",
                    ));
            }
            if is_known {
                if !(naming.is_lenient && IN_MANIFESTS.contains(&name.as_str())) {
                    rest.insert(name, value);
                }
                continue;
            }
            if naming.is_lenient {
                continue;
            }
            let error = invalid(format!("{} has no member '{}'", self.what, brief(&name)));
            let all = known.iter().chain(told).chain(IN_MANIFESTS).copied();
            return Err(match nearest(&name, all) {
                Some(near) => error.with_help(format!("did you mean '{near}'?")),
                None => error.with_help(format!("it takes {}", known.join(", "))),
            });
        }
        Ok(rest)
    }
}

fn object(value: Value, what: &str) -> Result<Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(invalid(format!("{what} is an object"))),
    }
}

fn table(value: Value, naming: Naming) -> Result<WantedTable> {
    let mut members = Members {
        what: "a table",
        object: object(value, "a table")?,
    };
    let fields = members.list("field")?;
    let indexes = members.list("index")?;
    Ok(WantedTable {
        name: members.text("name")?,
        new_name: members.text("new_name")?,
        fields: fields
            .into_iter()
            .map(|value| field(value, naming))
            .collect::<Result<_>>()?,
        indexes: indexes
            .into_iter()
            .map(|value| index(value, naming))
            .collect::<Result<_>>()?,
        description: members.text("description")?,
        primary_key: members.names("primary_key")?,
        told: members.told(TABLE_MEMBERS, TOLD_OF_TABLES, naming)?,
    })
}

fn index(value: Value, naming: Naming) -> Result<WantedIndex> {
    let mut members = Members {
        what: "an index",
        object: object(value, "an index")?,
    };
    let wanted = WantedIndex {
        name: members.text("name")?,
        fields: members.names("fields")?.unwrap_or_default(),
        is_unique: members.truth("unique")?.unwrap_or(false),
        drop: members.truth("drop")?.unwrap_or(false),
    };
    members.told(INDEX_MEMBERS, &[], naming)?;
    if wanted.drop && wanted.name.is_none() {
        return Err(invalid("an index that is dropped is named by 'name'"));
    }
    if !wanted.drop && wanted.fields.is_empty() {
        return Err(invalid("an index names its 'fields'"));
    }
    Ok(wanted)
}

fn relation(value: Value, naming: Naming) -> Result<WantedRelation> {
    let mut members = Members {
        what: "a relation",
        object: object(value, "a relation")?,
    };
    let is_virtual = members.truth("is_virtual")?.unwrap_or(false);
    let kind = members.text("type")?;
    if is_virtual || kind.as_deref().is_some_and(|kind| kind != "belongs_to") {
        return Err(invalid(
            "only a foreign key of this table can be made here: a relation of type `belongs_to` that is not virtual",
        )
        .with_help(
            "virtual relations stand in the manifest, below [service.NAME.config.table.TABLE]; \
             for `has_many` make the foreign key at the other table",
        ));
    }
    let joined = |text: Option<String>| -> Vec<String> {
        let names = text.as_deref().unwrap_or_default().split(',');
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let name = members.text("name")?;
    let field = members.text("field")?;
    let ref_table = members.text("ref_table")?;
    let ref_field = members.text("ref_field")?;
    let (on_update, on_delete) = (
        members.rule("ref_on_update")?,
        members.rule("ref_on_delete")?,
    );
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    members
        .object
        .retain(|name, value| !(EMPTY_OF_RELATIONS.contains(&name.as_str()) && is_empty(value)));
    if let Some((name, _)) = members
        .told(RELATION_MEMBERS, EMPTY_OF_RELATIONS, naming)?
        .iter()
        .next()
    {
        return Err(in_manifest(name, "a relation"));
    }
    let fields = joined(field);
    let Some(ref_table) = ref_table.filter(|_| !fields.is_empty()) else {
        return Err(invalid("a relation names 'field' and 'ref_table'"));
    };
    Ok(WantedRelation {
        name,
        fields,
        ref_table,
        ref_fields: joined(ref_field),
        on_update,
        on_delete,
    })
}

/// That a member is no part of the database.
pub(super) fn in_manifest(name: &str, what: &str) -> Error {
    let error = invalid(format!("'{name}' of {what} is not set here"));
    if IN_MANIFESTS.contains(&name) || EMPTY_OF_RELATIONS.contains(&name) {
        return error.with_help(
            "it is no part of the database; write it into the manifest, below [service.NAME.config.table.TABLE]",
        );
    }
    error.with_help(match name {
        "db_type" => "write `type`, with `length`, `precision` and `scale`",
        "required" => "it follows from `allow_null` and `default`",
        _ => "it is told by descriptions; leave it out",
    })
}

fn field(value: Value, naming: Naming) -> Result<WantedField> {
    let object = object(value, "a field")?;
    let what = match object.get("name") {
        Some(Value::String(name)) => format!("field '{}'", brief(name)),
        _ => "a field".to_owned(),
    };
    let mut members = Members {
        what: &what,
        object,
    };
    let kind = members.text("type")?;
    let ref_table = match members.object.get("ref_table") {
        None => None,
        Some(_) => Some(members.text("ref_table")?),
    };
    let ref_field = members.names("ref_field")?;
    if ref_field.as_ref().is_some_and(|names| names.len() > 1) {
        return Err(invalid(format!("{what} refers to several fields")).with_help(
            "make a key of several fields by POST to `_related`, with `field` and `ref_field` joined by commas",
        ));
    }
    let default = members.object.shift_remove("default");
    let description = match members.object.shift_remove("description") {
        Some(Value::Null) | None => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(members.wrong("description", "a text")),
    };
    Ok(WantedField {
        name: members.text("name")?,
        new_name: members.text("new_name")?,
        kind: kind.map(|kind| simple_type(&kind, &what)).transpose()?,
        length: members.number("length", u32::MAX)?,
        precision: members.number("precision", MOST_DIGITS)?,
        scale: members.number("scale", MOST_DIGITS)?,
        is_fixed: members.truth("fixed_length")?,
        is_multibyte: members.truth("supports_multibyte")?,
        allow_null: members.truth("allow_null")?,
        default,
        is_numbered: members.truth("auto_increment")?,
        is_primary_key: members.truth("is_primary_key")?,
        is_unique: members.truth("is_unique")?,
        is_index: members.truth("is_index")?,
        is_foreign_key: members.truth("is_foreign_key")?,
        ref_table,
        ref_field: ref_field.and_then(|names| names.into_iter().next()),
        on_update: members.rule("ref_on_update")?,
        on_delete: members.rule("ref_on_delete")?,
        description,
        told: members.told(FIELD_MEMBERS, TOLD_OF_FIELDS, naming)?,
    })
}

/// A default: a constant, or one of the functions that are known; none for null.
pub(super) fn default(value: &Value, what: &str) -> Result<Option<NewDefault>> {
    Ok(match value {
        Value::Null => None,
        Value::Bool(value) => Some(NewDefault::Bool(*value)),
        Value::Number(number) => Some(NewDefault::Number(number.to_string())),
        Value::String(text) if text.contains('\0') => {
            return Err(invalid(format!(
                "the default of {what} has a NUL character"
            )));
        }
        Value::String(text) => Some(NewDefault::Text(text.clone())),
        Value::Object(object) => match (object.len(), object.get("expression")) {
            (1, Some(Value::String(text))) => Some(expression(text, what)?),
            _ => {
                return Err(invalid(format!(
                    "the default of {what} is a constant or {{\"expression\": \"NOW()\"}}"
                )));
            }
        },
        Value::Array(_) => {
            return Err(invalid(format!(
                "the default of {what} is a constant or {{\"expression\": \"NOW()\"}}"
            )));
        }
    })
}

/// Functions without arguments that make a UUID.
const UUID_FUNCTIONS: [&str; 2] = ["UUID", "NEWID"];

fn expression(text: &str, what: &str) -> Result<NewDefault> {
    let name = text.trim().to_ascii_uppercase();
    let name = name.strip_suffix("()").unwrap_or(&name);
    let is_now = TIME_FUNCTIONS.iter().find(|(known, _)| *known == name);
    if let Some((_, now)) = is_now {
        return Ok(NewDefault::Now(*now));
    }
    if UUID_FUNCTIONS.contains(&name) {
        return Ok(NewDefault::NewUuid);
    }
    let names: Vec<&str> = TIME_FUNCTIONS
        .iter()
        .map(|(name, _)| *name)
        .chain(UUID_FUNCTIONS)
        .collect();
    Err(invalid(format!(
        "the default of {what} is an expression that is not known"
    ))
    .with_help(format!(
        "expressions are {}, without arguments",
        names.join(", ")
    )))
}

/// A simple type, perhaps with dimensions behind it: `decimal(12,2)`, `varchar(40)`.
fn simple_type(text: &str, what: &str) -> Result<WantedType> {
    let lowered = text.trim().to_ascii_lowercase();
    let (word, dimensions) = match lowered.split_once('(') {
        None => (lowered.as_str(), None),
        Some((word, rest)) => {
            let inside = rest.strip_suffix(')');
            let mut numbers = inside
                .unwrap_or_default()
                .split(',')
                .map(|number| number.trim().parse::<u32>().ok());
            match (
                inside,
                numbers.next().flatten(),
                numbers.next(),
                numbers.next(),
            ) {
                (Some(_), Some(first), None, None) => (word.trim_end(), Some((first, None))),
                (Some(_), Some(first), Some(Some(second)), None) => {
                    (word.trim_end(), Some((first, Some(second))))
                }
                _ => return Err(unknown_type(text, what)),
            }
        }
    };
    if let Some((_, why)) = REFUSED_TYPES.iter().find(|(known, _)| *known == word) {
        return Err(invalid(format!("{what} cannot have the type '{word}'")).with_help(*why));
    }
    let found = TYPES.iter().find(|(known, _, _)| *known == word);
    let Some((_, word, meaning)) = found else {
        return Err(unknown_type(text, what));
    };
    let takes = match meaning {
        Meaning::Plain(ColumnType::Decimal(_)) => 2,
        Meaning::Plain(ColumnType::String(_) | ColumnType::Binary(_)) => 1,
        _ => 0,
    };
    let given = match dimensions {
        None => 0,
        Some((_, None)) => 1,
        Some((_, Some(_))) => 2,
    };
    if given > takes {
        return Err(unknown_type(text, what));
    }
    Ok(WantedType {
        word,
        meaning: meaning.clone(),
        dimensions,
    })
}

fn unknown_type(text: &str, what: &str) -> Error {
    let error = invalid(format!("{what} has no known type: '{}'", brief(text)));
    match nearest(text, TYPES.iter().map(|(name, _, _)| *name)) {
        Some(near) => error.with_help(format!("did you mean '{near}'?")),
        None => error.with_help(
            "types are id, reference, integer, decimal(12,2), string, varchar(40), text, boolean, json, date, datetime and their like",
        ),
    }
}
