//! What a manifest says of the tables of a database: other names, what is hidden, what may be written, and relations
//! that no foreign key declares.
//!
//! Whether the database has these tables and columns is known only once it is read; [`super::catalog::Catalog::with`]
//! sees to that. Here is what the manifest alone shows to be wrong.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::catalog::RelationKind;
use super::validation;
use crate::connector::Problem;
use crate::names::ServiceName;

/// What the name of a relation must be, in words.
const NAME_EXPECTED: &str = "text without dots, commas, asterisks and spaces";

/// What `on_fail` says to drop a value instead of refusing the record.
pub const IGNORE_FIELD: &str = "ignore_field";

/// What a manifest says of one table. Names of tables and columns are those of the database.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableOptions {
    /// What callers and roles call the table under `_table`. Under `_schema` it keeps its own name.
    pub alias: Option<String>,
    /// What people call one record.
    pub label: Option<String>,
    /// What people call several records.
    pub plural: Option<String>,
    /// What the table holds, instead of the comment in the database.
    pub description: Option<String>,
    /// The column that names a record to people.
    pub name_field: Option<String>,
    /// Whether the table is not served at all. Default: false.
    #[serde(default)]
    pub hidden: bool,
    /// The columns that tell the records apart, for views and for tables without a primary key: so `/{id}` works.
    #[serde(default)]
    pub key: Option<Names>,
    /// Columns by their names in the database.
    #[serde(default)]
    pub column: BTreeMap<String, ColumnOptions>,
    /// Relations that no foreign key declares.
    #[serde(default)]
    pub relation: Vec<RelationOptions>,
    /// What to change about relations that follow from foreign keys, by the names that these have by themselves, such
    /// as `customer_by_customer_id`.
    #[serde(default)]
    pub relation_alias: BTreeMap<String, RelationAlias>,
}

/// What a manifest says of one column.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnOptions {
    /// What callers and roles call the column.
    pub alias: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// What it holds, instead of the comment in the database.
    pub description: Option<String>,
    /// What the values are, where the database cannot say it: "json" for texts that hold JSON, "boolean" for numbers that
    /// are 0 or 1.
    pub r#type: Option<ShownType>,
    /// Whether the column behaves for everybody as if it did not exist. The gateway may still set it by `default`,
    /// `on_create` and `on_update`. Default: false.
    #[serde(default)]
    pub hidden: bool,
    /// Whether a record that has the column is refused. Default: false.
    #[serde(default)]
    pub read_only: bool,
    /// Whether the column is written when a record is created and never again. Default: false.
    #[serde(default)]
    pub create_only: bool,
    /// What the column gets when a record is created without it: a constant, or a lookup such as "{key.name}". A lookup
    /// without a value leaves it to the database.
    #[serde(default)]
    #[schemars(extend(
        "type" = ["string", "number", "boolean"],
        "x-expected" = "text, a number, true or false"
    ))]
    pub default: Option<Value>,
    /// What the column gets when a record is created, whatever the record says: "now", or a lookup such as "{key.name}".
    #[serde(default)]
    pub on_create: Option<String>,
    /// What the column gets whenever a record is created or changed, whatever the record says: "now", or a lookup such
    /// as "{key.name}".
    #[serde(default)]
    pub on_update: Option<String>,
    /// The values to choose from. They bind only with `validation.picklist` or `validation.multi_picklist`.
    #[serde(default)]
    pub picklist: Option<Vec<String>>,
    /// What the values of records must be like; failures are 400.
    #[serde(default)]
    pub validation: ValidationOptions,
    /// What to do when a rule is broken, by the rule: "ignore_field" drops the value, every other text is the message.
    #[serde(default)]
    pub on_fail: OnFail,
}

/// What the values of a column are, where the database cannot say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShownType {
    /// Texts that hold JSON. One that does not is shown as text.
    Json,
    /// Numbers: 0 is false and 1 is true. Others are shown as numbers.
    Boolean,
}

/// Rules for the values that records have. Rules other than the first three let null and empty text pass.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationOptions {
    /// Not null, and not left out when a record is created.
    #[serde(default)]
    pub not_null: bool,
    /// Neither null nor an empty text, list or object, and not left out when a record is created.
    #[serde(default)]
    pub not_empty: bool,
    /// Neither null nor zero, and not left out when a record is created.
    #[serde(default)]
    pub not_zero: bool,
    /// An email address.
    #[serde(default)]
    pub email: bool,
    /// An absolute URL.
    #[serde(default)]
    pub url: bool,
    /// A whole number, within these bounds if there are any: `int = {}`, `int = { min = 1, max = 10 }`.
    #[serde(default)]
    pub int: Option<IntegerRange>,
    /// A number.
    #[serde(default)]
    pub float: bool,
    /// A truth value.
    #[serde(default)]
    pub boolean: bool,
    /// Matched by this regular expression somewhere; `^` and `$` bind it to the ends.
    #[serde(default)]
    pub r#match: Option<String>,
    /// One of `picklist`.
    #[serde(default)]
    pub picklist: bool,
    /// Some of `picklist`.
    #[serde(default)]
    pub multi_picklist: Option<MultiplePicks>,
}

/// Bounds of a whole number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntegerRange {
    /// Smallest.
    pub min: Option<i64>,
    /// Largest.
    pub max: Option<i64>,
}

/// How several values of a picklist stand in one text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiplePicks {
    /// What stands between two. Default: a comma.
    #[serde(default = "comma")]
    #[schemars(length(min = 1))]
    pub delimiter: String,
    /// Fewest. Default: 1.
    #[serde(default = "one")]
    pub min: u32,
    /// Most.
    #[serde(default)]
    pub max: Option<u32>,
}

fn comma() -> String {
    ",".to_owned()
}

fn one() -> u32 {
    1
}

/// What to do when a rule is broken: "ignore_field" drops the value, every other text is the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnFail {
    /// For `read_only`.
    pub read_only: Option<String>,
    /// For `create_only`.
    pub create_only: Option<String>,
    /// For `validation.not_null`.
    pub not_null: Option<String>,
    /// For `validation.not_empty`.
    pub not_empty: Option<String>,
    /// For `validation.not_zero`.
    pub not_zero: Option<String>,
    /// For `validation.email`.
    pub email: Option<String>,
    /// For `validation.url`.
    pub url: Option<String>,
    /// For `validation.int`.
    pub int: Option<String>,
    /// For `validation.float`.
    pub float: Option<String>,
    /// For `validation.boolean`.
    pub boolean: Option<String>,
    /// For `validation.match`.
    pub r#match: Option<String>,
    /// For `validation.picklist`.
    pub picklist: Option<String>,
    /// For `validation.multi_picklist`.
    pub multi_picklist: Option<String>,
}

/// A relation that no foreign key declares.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationOptions {
    /// What callers call it, in `related` and in records.
    #[schemars(length(min = 1), pattern(r"^[^.,*\s]+$"), extend("x-expected" = NAME_EXPECTED))]
    pub name: String,
    /// Its kind, seen from this table.
    pub kind: RelationKind,
    /// The columns of this table that take part, one or several.
    pub column: Names,
    /// The related table. In another service, as that service calls it.
    #[schemars(length(min = 1))]
    pub table: String,
    /// The columns there that equal `column`, in the same order; with a junction, those that equal
    /// `junction.ref_column`. In another service, as that service calls them.
    pub ref_column: Names,
    /// The other database service that has the related table. Default: this one.
    pub service: Option<ServiceName>,
    /// The table between, for `many_many`. It is one of this service.
    pub junction: Option<JunctionOptions>,
    /// Whether it is read along with every record, asked for or not. Default: false.
    #[serde(default)]
    pub always: bool,
    /// What people call it.
    pub label: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// The table between two related ones.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JunctionOptions {
    /// The table.
    #[schemars(length(min = 1))]
    pub table: String,
    /// Its columns that equal `column` of the relation, in the same order.
    pub column: Names,
    /// Its columns that equal `ref_column` of the relation, in the same order.
    pub ref_column: Names,
}

/// What to change about a relation that follows from a foreign key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationAlias {
    /// What callers call it.
    #[schemars(length(min = 1), pattern(r"^[^.,*\s]+$"), extend("x-expected" = NAME_EXPECTED))]
    pub alias: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// Whether it behaves as if it did not exist. Default: false.
    #[serde(default)]
    pub hidden: bool,
    /// Whether it is read along with every record, asked for or not. Default: false.
    #[serde(default)]
    pub always: bool,
}

/// One name, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::One(name) => vec![name],
            Written::Several(names) => names,
        }))
    }
}

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "items": { "type": "string", "minLength": 1 },
            "minLength": 1,
            "minItems": 1,
            "x-expected": "a name or a list of names"
        })
    }
}

/// What the gateway sets a column to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting<'a> {
    /// A constant.
    Constant(&'a Value),
    /// The value of a lookup, by its name.
    Lookup(&'a str),
    /// The time of the write.
    Now,
}

impl<'a> Setting<'a> {
    /// What `default` says.
    pub fn of_default(value: &'a Value) -> Self {
        match value.as_str().and_then(lookup_of) {
            Some(name) => Self::Lookup(name),
            None => Self::Constant(value),
        }
    }

    /// What `on_create` and `on_update` say; nothing if it is neither "now" nor a lookup.
    pub fn of_moment(text: &'a str) -> Option<Self> {
        match text {
            "now" => Some(Self::Now),
            text => lookup_of(text).map(Self::Lookup),
        }
    }
}

/// The name in `{name}`, if the text is nothing else.
fn lookup_of(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    (!name.is_empty() && is_name(name)).then_some(name)
}

/// Collects problems, each at a key below `/table`.
struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, path: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let mut pointer = "/table".to_owned();
        for segment in path {
            pointer.push('/');
            pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        }
        self.0.push(Problem {
            pointer,
            message: message.into(),
            help: Some(help.into()),
        });
    }
}

/// What is wrong with what a manifest says of tables. Pure.
pub fn problems(tables: &BTreeMap<String, TableOptions>) -> Vec<Problem> {
    let mut findings = Findings(Vec::new());
    let names = tables
        .iter()
        .map(|(name, table)| (name.as_str(), table.alias.as_deref()));
    for (name, other) in taken(names) {
        findings.add(
            &[name, "alias"],
            format!("the table `{other}` has this name already"),
            "give each table a name of its own",
        );
    }
    for (name, table) in tables {
        of_name(&mut findings, &[name, "alias"], table.alias.as_deref());
        of_table(&mut findings, name, table);
    }
    findings.0
}

/// Aliases that are the name of something else: those that have one, with what is called so too.
fn taken<'a>(
    names: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    let mut seen: Vec<(String, &str)> = names
        .clone()
        .filter(|(_, alias)| alias.is_none())
        .map(|(name, _)| (name.to_ascii_lowercase(), name))
        .collect();
    for (name, alias) in names {
        let Some(alias) = alias else {
            continue;
        };
        let folded = alias.to_ascii_lowercase();
        match seen.iter().find(|(known, _)| *known == folded) {
            Some((_, other)) => found.push((name, *other)),
            None => seen.push((folded, name)),
        }
    }
    found
}

fn of_name(findings: &mut Findings, path: &[&str], name: Option<&str>) {
    let Some(name) = name else {
        return;
    };
    if name.trim().is_empty() || name.contains(char::is_control) {
        findings.add(
            path,
            "an alias must have letters, and no control characters",
            "write a name, or remove `alias`",
        );
    }
}

fn of_table(findings: &mut Findings, name: &str, table: &TableOptions) {
    let columns = table
        .column
        .iter()
        .map(|(column, options)| (column.as_str(), options.alias.as_deref()));
    for (column, other) in taken(columns) {
        findings.add(
            &[name, "column", column, "alias"],
            format!("the column `{other}` has this name already"),
            "give each column a name of its own",
        );
    }
    let is_hidden = |column: &str| {
        let options = table.column.get(column);
        options.is_some_and(|options| options.hidden)
    };
    if let Some(key) = &table.key {
        let unique: BTreeSet<&String> = key.0.iter().collect();
        if unique.len() < key.0.len() {
            findings.add(
                &[name, "key"],
                "a column stands twice in the key",
                "name each column once",
            );
        }
    }
    let named = table.key.iter().flat_map(|key| &key.0);
    for (column, place) in named
        .map(|column| (column, "key"))
        .chain(table.name_field.iter().map(|column| (column, "name_field")))
    {
        if is_hidden(column) {
            findings.add(
                &[name, place],
                format!("the column `{column}` is hidden"),
                "name a column that callers may see, or remove its `hidden`",
            );
        }
    }
    for (column, options) in &table.column {
        let path = [name, "column", column];
        of_name(
            findings,
            &[&path[..], &["alias"]].concat(),
            options.alias.as_deref(),
        );
        of_column(findings, &path, options);
    }
    of_relations(findings, name, table, &is_hidden);
}

fn of_column(findings: &mut Findings, path: &[&str], options: &ColumnOptions) {
    let mut add = |keys: &[&str], message: String, help: &str| {
        findings.add(&[path, keys].concat(), message, help);
    };
    if options.read_only && options.create_only {
        add(
            &["create_only"],
            "a column that is read-only is never written by a record".to_owned(),
            "remove `create_only` or `read_only`",
        );
    }
    if options.default.is_some() && (options.on_create.is_some() || options.on_update.is_some()) {
        add(
            &["default"],
            "the column is set by `on_create` or `on_update`, so its default is never used"
                .to_owned(),
            "remove `default`",
        );
    }
    if let Some(text) = options.default.as_ref().and_then(Value::as_str)
        && text.starts_with('{')
        && text.ends_with('}')
        && lookup_of(text).is_none()
    {
        add(
            &["default"],
            format!("`{text}` is not a lookup"),
            "write the name alone in braces, as in \"{user.email}\"",
        );
    }
    for (key, text) in [
        ("on_create", options.on_create.as_deref()),
        ("on_update", options.on_update.as_deref()),
    ] {
        if let Some(text) = text
            && Setting::of_moment(text).is_none()
        {
            add(
                &[key],
                format!("`{key}` must be \"now\" or a lookup, not \"{text}\""),
                "write \"now\", or a name in braces such as \"{user.id}\"; constants go into `default`",
            );
        }
    }
    if let Some(picklist) = &options.picklist {
        if picklist.is_empty() {
            add(
                &["picklist"],
                "the list has no values".to_owned(),
                "name the values, or remove `picklist`",
            );
        }
        let unique: BTreeSet<&String> = picklist.iter().collect();
        if unique.len() < picklist.len() {
            add(
                &["picklist"],
                "a value stands twice in the list".to_owned(),
                "name each value once",
            );
        }
    }
    let validation = &options.validation;
    for (key, is_used) in [
        ("picklist", validation.picklist),
        ("multi_picklist", validation.multi_picklist.is_some()),
    ] {
        if is_used && options.picklist.is_none() {
            add(
                &["validation", key],
                "there is no list of values to choose from".to_owned(),
                "add picklist = [\"…\"] to the column",
            );
        }
    }
    if let Some(range) = &validation.int
        && let (Some(min), Some(max)) = (range.min, range.max)
        && min > max
    {
        add(
            &["validation", "int"],
            format!("no number lies between {min} and {max}"),
            "write the smaller bound as `min`",
        );
    }
    if let Some(picks) = &validation.multi_picklist
        && picks.max.is_some_and(|max| max < picks.min)
    {
        add(
            &["validation", "multi_picklist"],
            "`max` is smaller than `min`".to_owned(),
            "write the smaller bound as `min`",
        );
    }
    if let Some(pattern) = &validation.r#match
        && let Err(reason) = validation::expression(pattern)
    {
        add(
            &["validation", "match"],
            format!("the regular expression cannot be read: {reason}"),
            "write it in single quotes, so that TOML leaves backslashes alone; there are no look-arounds and no back-references",
        );
    }
    for (rule, is_set, on_fail) in options.rules() {
        let Some(text) = on_fail else {
            continue;
        };
        if !is_set {
            add(
                &["on_fail", rule],
                format!("the column has no rule `{rule}`"),
                "add the rule, or remove what is to happen when it is broken",
            );
        } else if text.trim().is_empty() {
            add(
                &["on_fail", rule],
                "the message is empty".to_owned(),
                "write a message, or \"ignore_field\" to drop the value",
            );
        }
    }
}

impl ColumnOptions {
    /// Every rule by its name: whether the column has it, and what happens when it is broken.
    fn rules(&self) -> [(&'static str, bool, Option<&str>); 13] {
        let (rules, texts) = (&self.validation, &self.on_fail);
        [
            ("read_only", self.read_only, texts.read_only.as_deref()),
            (
                "create_only",
                self.create_only,
                texts.create_only.as_deref(),
            ),
            ("not_null", rules.not_null, texts.not_null.as_deref()),
            ("not_empty", rules.not_empty, texts.not_empty.as_deref()),
            ("not_zero", rules.not_zero, texts.not_zero.as_deref()),
            ("email", rules.email, texts.email.as_deref()),
            ("url", rules.url, texts.url.as_deref()),
            ("int", rules.int.is_some(), texts.int.as_deref()),
            ("float", rules.float, texts.float.as_deref()),
            ("boolean", rules.boolean, texts.boolean.as_deref()),
            ("match", rules.r#match.is_some(), texts.r#match.as_deref()),
            ("picklist", rules.picklist, texts.picklist.as_deref()),
            (
                "multi_picklist",
                rules.multi_picklist.is_some(),
                texts.multi_picklist.as_deref(),
            ),
        ]
    }
}

fn of_relations(
    findings: &mut Findings,
    name: &str,
    table: &TableOptions,
    is_hidden: &dyn Fn(&str) -> bool,
) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (derived, options) in &table.relation_alias {
        let Some(alias) = &options.alias else {
            continue;
        };
        if !seen.insert(alias.to_ascii_lowercase()) {
            findings.add(
                &[name, "relation_alias", derived, "alias"],
                format!("another relation is called `{alias}` already"),
                "give each relation a name of its own",
            );
        }
    }
    for (index, relation) in table.relation.iter().enumerate() {
        let index = index.to_string();
        let mut add = |keys: &[&str], message: String, help: &str| {
            let path = [&[name, "relation", &index], keys].concat();
            findings.add(&path, message, help);
        };
        if !seen.insert(relation.name.to_ascii_lowercase()) {
            add(
                &["name"],
                format!("another relation is called `{}` already", relation.name),
                "give each relation a name of its own",
            );
        }
        if let Some(hidden) = relation.column.0.iter().find(|column| is_hidden(column)) {
            add(
                &["column"],
                format!("the column `{hidden}` is hidden"),
                "relations through hidden columns do not exist; remove its `hidden`, or the relation",
            );
        }
        let count = |names: &Names| match names.0.len() {
            1 => "1 column".to_owned(),
            count => format!("{count} columns"),
        };
        let mut agree = |keys: &[&str], left: (&str, &Names), right: (&str, &Names)| {
            if left.1.0.len() != right.1.0.len() {
                add(
                    keys,
                    format!(
                        "`{}` names {}, but `{}` names {}",
                        right.0,
                        count(right.1),
                        left.0,
                        count(left.1)
                    ),
                    "name as many columns on both sides, in the same order",
                );
            }
        };
        match (&relation.junction, relation.kind) {
            (Some(junction), RelationKind::ManyMany) => {
                agree(
                    &["junction", "column"],
                    ("column", &relation.column),
                    ("junction.column", &junction.column),
                );
                agree(
                    &["junction", "ref_column"],
                    ("ref_column", &relation.ref_column),
                    ("junction.ref_column", &junction.ref_column),
                );
            }
            (None, RelationKind::ManyMany) => add(
                &["kind"],
                "a many_many relation needs the table between".to_owned(),
                "add junction = { table = \"…\", column = \"…\", ref_column = \"…\" }",
            ),
            (Some(_), _) => add(
                &["junction"],
                "only a many_many relation has a table between".to_owned(),
                "remove `junction`, or write kind = \"many_many\"",
            ),
            (None, _) => agree(
                &["ref_column"],
                ("column", &relation.column),
                ("ref_column", &relation.ref_column),
            ),
        }
    }
}
