//! JSON Schemas from the Rust types: for editors, for validation, and for words about what is expected. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::diagnostic::{Diagnostic, MAX_DIAGNOSTICS};
use super::document::{Document, join, segments};
use super::expect::ExpectTable;
use super::gateway::Gateway;
use super::key::KeyTable;
use super::lookup::LookupTable;
use super::role::RoleTable;
use super::service::ServiceTable;
use crate::auth::key::{DIGEST_PATTERN, KeyDigest};
use crate::connector::{ServiceType, service_types};
use crate::error::nearest;
use crate::names::{NAME_PATTERN, ServiceName};
use crate::secret::Secret;

/// Most names that a help lists.
const MAX_LISTED: usize = 24;
/// Most characters of a value that a message repeats.
const MAX_QUOTED: usize = 80;

/// One manifest file. Any file may hold any of these tables; together the files of a folder are one configuration.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "its schema is what it is for")]
pub(super) struct ManifestFile {
    /// Services by name: the first segment of a path after `/api/v2/`.
    service: Option<BTreeMap<String, Layered<ServiceTable>>>,
    /// Roles by name.
    role: Option<BTreeMap<String, Layered<RoleTable>>>,
    /// Keys by name; each stands for one application.
    key: Option<BTreeMap<String, Layered<KeyTable>>>,
    /// Values for `{lookup.NAME}` in filters.
    lookup: Option<LookupTable>,
    /// Access tests: a tree of which one fails is refused.
    expect: Option<Vec<ExpectTable>>,
    /// Settings of the gateway itself.
    gateway: Option<Layered<Gateway>>,
}

/// What a table of a layer says to replace the one of the same name below.
pub(super) const OVERRIDE: &str = "override";

/// A table as a layer may write it: what its type says, and `override`, which the linker takes away before typing.
struct Layered<T>(T);

impl<T: JsonSchema> JsonSchema for Layered<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        if let Some(properties) = properties {
            properties.insert(OVERRIDE.to_owned(), override_schema());
        }
        schema
    }
}

/// The schema of `override`.
pub(super) fn override_schema() -> Value {
    json!({
        "type": "boolean",
        "description": "Whether this replaces all of what a layer below says under the same name (`--config base --config \
                        prod`). Default: false, and then no layer below may have the name.",
        "default": false
    })
}

/// The tables of a file whose keys are names.
pub(super) const NAMED_TABLES: [&str; 3] = ["service", "role", "key"];

/// A schema and its compiled form.
struct Compiled {
    schema: Value,
    /// None when the schema itself is wrong, which a test rules out.
    validator: Option<Validator>,
}

impl Compiled {
    fn new(schema: Value) -> Self {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&schema)
            .ok();
        Self { schema, validator }
    }
}

/// The schemas of manifests for a table of service types, compiled once.
pub struct Schemas {
    file: Compiled,
    types: Vec<(ServiceType, Compiled)>,
}

impl Schemas {
    /// Generates and compiles the schemas.
    pub fn new<'a>(types: impl IntoIterator<Item = &'a ServiceType>) -> Self {
        let types: Vec<&ServiceType> = types.into_iter().collect();
        let mut file = schema_of(SchemaGenerator::root_schema_for::<ManifestFile>);
        if let Some(Value::Object(type_)) = file.pointer_mut("/$defs/ServiceTable/properties/type")
        {
            let names: Vec<&str> = types.iter().map(|entry| entry.name).collect();
            type_.insert("examples".to_owned(), json!(names));
        }
        Self {
            file: Compiled::new(file),
            types: types
                .into_iter()
                .map(|entry| (*entry, Compiled::new(config_schema(entry))))
                .collect(),
        }
    }

    /// Those of every service type that this program has.
    pub fn standard() -> &'static Self {
        static STANDARD: LazyLock<Schemas> = LazyLock::new(|| Schemas::new(service_types()));
        &STANDARD
    }

    /// The service type with a name or alias.
    pub(super) fn service_type(&self, name: &str) -> Option<&ServiceType> {
        self.entry(name).map(|(entry, _)| entry)
    }

    /// The names of all types, without aliases.
    pub(super) fn type_names(&self) -> impl Iterator<Item = &'static str> {
        self.types.iter().map(|(entry, _)| entry.name)
    }

    fn entry(&self, name: &str) -> Option<&(ServiceType, Compiled)> {
        self.types
            .iter()
            .find(|(entry, _)| entry.name == name || entry.aliases.contains(&name))
    }

    /// Everything in a file that does not follow the schema, but for the configs of services.
    pub(super) fn check_file(&self, document: &Document, value: &Value) -> Vec<Finding> {
        findings(&self.file, document, value, "", &[])
    }

    /// Everything in a config that does not follow the schema of its type. `pointer` says where the config stands.
    pub(super) fn check_config(
        &self,
        service_type: &ServiceType,
        document: &Document,
        config: &Value,
        pointer: &str,
    ) -> Vec<Finding> {
        let Some((_, compiled)) = self.entry(service_type.name) else {
            return Vec::new();
        };
        let secrets = secret_places(&compiled.schema, config);
        findings(compiled, document, config, pointer, &secrets)
    }

    /// JSON pointers of the secrets in a config.
    pub(super) fn secret_places(&self, service_type: &ServiceType, config: &Value) -> Vec<String> {
        self.entry(service_type.name)
            .map(|(_, compiled)| secret_places(&compiled.schema, config))
            .unwrap_or_default()
    }
}

/// The schema of a whole manifest, for editors: `config` follows `type`.
///
/// It is draft 7, which every editor's TOML support understands.
pub fn editor_schema<'a>(types: impl IntoIterator<Item = &'a ServiceType>) -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let types: Vec<&ServiceType> = types.into_iter().collect();
    let configs: Vec<Value> = types
        .iter()
        .map(|entry| (entry.schema)(&mut generator).to_value())
        .collect();
    // The root schema holds every definition that the generator knows, those of the configs too.
    let mut schema = generator.into_root_schema_for::<ManifestFile>().to_value();
    if let Some(Value::Object(service)) = schema.pointer_mut("/definitions/ServiceTable") {
        describe_types(service, &types, configs);
    }
    for table in NAMED_TABLES {
        if let Some(Value::Object(table)) = schema.pointer_mut(&format!("/properties/{table}")) {
            table.insert(
                "propertyNames".to_owned(),
                json!({ "pattern": NAME_PATTERN }),
            );
        }
    }
    tidy(&mut schema);
    for_editors(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("Tidegate manifest"));
    }
    schema
}

/// One branch for each type. Configs that may be left out stay optional.
fn describe_types(service: &mut Map<String, Value>, types: &[&ServiceType], configs: Vec<Value>) {
    let branches: Vec<Value> = types
        .iter()
        .zip(configs)
        .map(|(entry, config)| {
            let names: Vec<&str> = std::iter::once(entry.name)
                .chain(entry.aliases.iter().copied())
                .collect();
            json!({
                "title": entry.label,
                "description": entry.description,
                "properties": {
                    "type": { "enum": names, "description": entry.description },
                    "config": config,
                },
                "required": ["type"],
            })
        })
        .collect();
    if !branches.is_empty() {
        service.insert("oneOf".to_owned(), Value::Array(branches));
    }
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn schema_of(make: impl Fn(&mut SchemaGenerator) -> Schema) -> Value {
    let mut schema = make(&mut generator()).to_value();
    tidy(&mut schema);
    schema
}

fn config_schema(entry: &ServiceType) -> Value {
    let mut generator = generator();
    let mut schema = (entry.schema)(&mut generator).to_value();
    let definitions = generator.take_definitions(true);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    tidy(&mut schema);
    schema
}

/// TOML has no null, so "this or null" is this; and integers get the limits of their format written out.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch != &json!({ "type": "null" }));
                if let [Value::Object(one)] = branches.as_slice() {
                    let one = one.clone();
                    map.shift_remove("anyOf");
                    for (key, value) in one {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.shift_remove("default");
            }
            let limits = match map.get("format").and_then(Value::as_str) {
                Some("int8") => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
                Some("uint8") => Some((0, i64::from(u8::MAX))),
                Some("int16") => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
                Some("uint16") => Some((0, i64::from(u16::MAX))),
                Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
                Some("uint32") => Some((0, i64::from(u32::MAX))),
                _ => None,
            };
            if let Some((minimum, maximum)) = limits {
                map.entry("minimum").or_insert(json!(minimum));
                map.entry("maximum").or_insert(json!(maximum));
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Editors complain about keywords that they do not know, and draft 7 ignores what stands beside a `$ref`.
fn for_editors(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.shift_remove("x-expected");
            if map.len() > 1
                && map.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = map.shift_remove("$ref")
            {
                map.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            map.values_mut().for_each(for_editors);
        }
        Value::Array(list) => list.iter_mut().for_each(for_editors),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Follows `$ref` within a schema; definitions that refer to each other in a circle end somewhere.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..8 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// Whether a schema is that of a [`Secret`].
fn is_secret(schema: &Value) -> bool {
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference.and_then(|reference| reference.rsplit('/').next()) == Some(Secret::SCHEMA_NAME)
}

/// JSON pointers, in `config`, of the places where the schema has a [`Secret`].
fn secret_places(schema: &Value, config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk_secrets(schema, schema, config, "", &mut found);
    found
}

/// The depth is that of `config`, which the parser bounds.
fn walk_secrets(
    root: &Value,
    schema: &Value,
    value: &Value,
    pointer: &str,
    found: &mut Vec<String>,
) {
    if is_secret(schema) {
        found.push(pointer.to_owned());
        return;
    }
    let resolved = resolve(root, schema);
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(branches)) = resolved.get(keyword) {
            for branch in branches {
                walk_secrets(root, branch, value, pointer, found);
            }
        }
    }
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                let schema = resolved
                    .get("properties")
                    .and_then(|properties| properties.get(key))
                    .or_else(|| resolved.get("additionalProperties"));
                if let Some(schema) = schema {
                    walk_secrets(root, schema, member, &join(pointer, key), found);
                }
            }
        }
        Value::Array(list) => {
            if let Some(schema) = resolved.get("items") {
                for (index, member) in list.iter().enumerate() {
                    walk_secrets(root, schema, member, &format!("{pointer}/{index}"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.dedup();
}

/// Something that does not follow the schema.
#[derive(Debug)]
pub(super) struct Finding {
    /// The place in the file, as a JSON pointer.
    pub(super) pointer: String,
    /// What to report.
    pub(super) diagnostic: Diagnostic,
}

/// Validates `value`, which stands at `prefix` in the document. Errors at or below `skipped` are left out.
fn findings(
    compiled: &Compiled,
    document: &Document,
    value: &Value,
    prefix: &str,
    skipped: &[String],
) -> Vec<Finding> {
    let Some(validator) = &compiled.validator else {
        return vec![Finding {
            pointer: prefix.to_owned(),
            diagnostic: Diagnostic::error(
                document.key_place(prefix),
                "tidegate has no usable schema for this table, which is a defect of tidegate",
            ),
        }];
    };
    let mut found = Vec::new();
    for error in validator.iter_errors(value).take(MAX_DIAGNOSTICS) {
        let within = error.instance_path().as_str();
        let is_skipped = skipped.iter().any(|secret| {
            within
                .strip_prefix(secret.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if !is_skipped {
            let context = Context {
                root: &compiled.schema,
                document,
                prefix,
            };
            context.explain(&error, &mut found);
        }
    }
    found
}

struct Context<'a> {
    root: &'a Value,
    document: &'a Document,
    prefix: &'a str,
}

impl Context<'_> {
    fn explain(&self, error: &ValidationError<'_>, found: &mut Vec<Finding>) {
        let pointer = format!("{}{}", self.prefix, error.instance_path().as_str());
        // The schema that holds the violated keyword.
        let schema = error
            .schema_path()
            .as_str()
            .rsplit_once('/')
            .and_then(|(parent, _)| self.root.pointer(parent))
            .unwrap_or(&Value::Null);
        let instance = error.instance().as_ref();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for key in unexpected {
                    found.push(self.unknown_key(&pointer, key, schema));
                }
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let schema = schema
                    .pointer(&join("/properties", key))
                    .unwrap_or(&Value::Null);
                let diagnostic = Diagnostic::error(
                    self.document.value_place(&pointer),
                    format!("{} lacks `{key}`", table_name(&pointer)),
                )
                .with_help(format!("add {key} = {}", self.sample(schema)));
                found.push(Finding {
                    pointer,
                    diagnostic,
                });
            }
            _ => {
                let schema = resolve(self.root, schema);
                let diagnostic = self.wrong_value(error.kind(), &pointer, instance, schema);
                found.push(Finding {
                    pointer,
                    diagnostic,
                });
            }
        }
    }

    fn unknown_key(&self, pointer: &str, key: &str, schema: &Value) -> Finding {
        let known: Vec<&str> = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let place = join(pointer, key);
        let (what, around) = if pointer.is_empty() {
            ("table", String::new())
        } else {
            ("key", format!(" in {}", table_name(pointer)))
        };
        let near = nearest(key, known.iter().copied());
        // A misspelt `password` is a password all the same.
        let is_secret = near
            .and_then(|near| schema.get("properties")?.get(near))
            .is_some_and(is_secret);
        let shown = self.document.key_place(&place);
        let shown = if is_secret {
            shown.masked_after()
        } else {
            shown
        };
        let diagnostic = Diagnostic::error(shown, format!("unknown {what} `{key}`{around}"));
        let help = near.map_or_else(
            || match known.as_slice() {
                [] => format!("remove it; there are no {what}s here"),
                known => format!("the {what}s here are {}", list(known)),
            },
            |near| format!("did you mean `{near}`?"),
        );
        Finding {
            pointer: place,
            diagnostic: diagnostic.with_help(help),
        }
    }

    fn wrong_value(
        &self,
        kind: &ValidationErrorKind,
        pointer: &str,
        instance: &Value,
        schema: &Value,
    ) -> Diagnostic {
        let name = value_name(pointer);
        let place = self.document.value_place(pointer);
        let error = |message: String| Diagnostic::error(place.clone(), message);
        match kind {
            ValidationErrorKind::Pattern { pattern } if pattern == NAME_PATTERN => {
                let text = instance.as_str().unwrap_or_default();
                error(format!("{name} must be a name, not `{text}`")).with_help(NAME_HELP)
            }
            ValidationErrorKind::MinItems { limit } => {
                let plural = if *limit == 1 { "" } else { "s" };
                error(format!("{name} must have at least {limit} member{plural}"))
            }
            ValidationErrorKind::MaxItems { limit } => {
                let plural = if *limit == 1 { "" } else { "s" };
                error(format!("{name} must have at most {limit} member{plural}"))
            }
            ValidationErrorKind::MinLength { limit: 1 } => {
                error(format!("{name} must not be empty"))
            }
            ValidationErrorKind::MinLength { limit } => {
                error(format!("{name} must have at least {limit} characters"))
            }
            ValidationErrorKind::MaxLength { limit } => {
                error(format!("{name} must have at most {limit} characters"))
            }
            ValidationErrorKind::UniqueItems => {
                error(format!("{name} must not have the same member twice"))
            }
            _ if is_digest(schema) => {
                let given = match instance {
                    Value::String(text) => format!("text of {} characters", text.chars().count()),
                    _ => self.given(pointer, instance, schema),
                };
                let expected = expectation(schema);
                // It may be the key itself, taken for its digest.
                let place = place.clone().masked_keys();
                Diagnostic::error(place, format!("{name} must be {expected}, not {given}"))
                    .with_help(DIGEST_HELP)
            }
            _ if schema
                .get("items")
                .is_some_and(|items| is_digest(resolve(self.root, items)))
                && instance
                    .as_str()
                    .is_none_or(|text| KeyDigest::try_from(text.to_owned()).is_err()) =>
            {
                let given = self.given(pointer, instance, schema);
                let place = place.clone().masked_keys();
                Diagnostic::error(place, format!("{name} must be a list, not {given}"))
                    .with_help(format!("make it a list: [\"…\"]; {DIGEST_HELP}"))
            }
            _ => {
                let expected = expectation(schema);
                let given = self.given(pointer, instance, schema);
                let diagnostic = error(format!("{name} must be {expected}, not {given}"));
                match Self::mend(pointer, instance, schema) {
                    Some(help) => diagnostic.with_help(help),
                    None => diagnostic,
                }
            }
        }
    }

    /// What was written instead: its kind where the kind is wrong, else the value.
    fn given(&self, pointer: &str, instance: &Value, schema: &Value) -> String {
        let expected = schema.get("type").and_then(Value::as_str);
        match instance {
            Value::String(_) if self.document.is_date(pointer) => {
                "a date or time without an offset".to_owned()
            }
            Value::String(text) if expected == Some("string") || allowed(schema).is_some() => {
                format!("`{}`", shorten(text))
            }
            Value::String(_) => "text".to_owned(),
            Value::Number(number) => match expected {
                Some("integer" | "number") => number.to_string(),
                _ => "a number".to_owned(),
            },
            Value::Bool(value) => value.to_string(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a table".to_owned(),
            Value::Null => "nothing".to_owned(),
        }
    }

    /// What to write instead, where that can be guessed.
    fn mend(pointer: &str, instance: &Value, schema: &Value) -> Option<String> {
        let key = segments(pointer).next_back()?;
        let is_member = key.parse::<usize>().is_ok();
        let write = |value: &str| {
            if is_member {
                value.to_owned()
            } else {
                format!("{key} = {value}")
            }
        };
        if let (Some(allowed), Value::String(text)) = (allowed(schema), instance) {
            return nearest(text, allowed.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"));
        }
        // Of several types the first is the usual one.
        let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
        match (kind.and_then(Value::as_str)?, instance) {
            ("integer", Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
                Some(format!("remove the quotes: {}", write(text.trim())))
            }
            ("number", Value::String(text)) if text.trim().parse::<f64>().is_ok() => {
                Some(format!("remove the quotes: {}", write(text.trim())))
            }
            ("boolean", Value::String(text)) if text == "true" || text == "false" => {
                Some(format!("remove the quotes: {}", write(text)))
            }
            ("boolean", _) if !is_member => {
                Some(format!("write {} or {}", write("true"), write("false")))
            }
            ("string", Value::Number(_) | Value::Bool(_)) => {
                Some(format!("add quotes: {}", write(&format!("\"{instance}\""))))
            }
            ("array", Value::Object(_)) => {
                let items = schema.get("items")?;
                let is_table = items.get("$ref").is_some() || items.get("properties").is_some();
                let path: Vec<String> = segments(pointer).collect();
                is_table.then(|| format!("write [[{}]], or {}", path.join("."), write("[{ … }]")))
            }
            ("array", Value::String(_) | Value::Number(_)) => {
                let member = instance.to_string();
                let member = if member.chars().count() > MAX_QUOTED {
                    "…"
                } else {
                    &member
                };
                Some(format!("make it a list: {}", write(&format!("[{member}]"))))
            }
            ("object", _) => Some(format!("make it a table: {}", write("{ … }"))),
            _ => None,
        }
    }

    /// A value as one could write it.
    fn sample(&self, schema: &Value) -> String {
        if is_secret(schema) {
            return "{ env = \"NAME\" }".to_owned();
        }
        let schema = resolve(self.root, schema);
        if let Some(example) = schema.pointer("/examples/0") {
            return example.to_string();
        }
        if let Some([first, ..]) = allowed(schema).as_deref() {
            return format!("\"{first}\"");
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => "\"…\"".to_owned(),
            Some("boolean") => "true".to_owned(),
            Some("array") => schema.get("items").map_or_else(
                || "[…]".to_owned(),
                |items| format!("[{}]", self.sample(items)),
            ),
            Some("object") => "{ … }".to_owned(),
            _ => schema
                .get("minimum")
                .map_or_else(|| "…".to_owned(), Value::to_string),
        }
    }
}

/// How to come by a digest, for helps.
const DIGEST_HELP: &str =
    "`tidegate key hash` prints the digest of a key; the key itself is never written here";

/// Whether a text is the digest of a key.
fn is_digest(schema: &Value) -> bool {
    schema.get("pattern").and_then(Value::as_str) == Some(DIGEST_PATTERN)
}

/// How a name looks, for helps.
pub(super) const NAME_HELP: &str =
    "names have a lower-case letter, then up to 63 lower-case letters, digits, `_` or `-`";

/// What a schema allows, in words.
fn expectation(schema: &Value) -> String {
    if let Some(words) = schema.get("x-expected").and_then(Value::as_str) {
        return words.to_owned();
    }
    if let Some(allowed) = allowed(schema) {
        return match allowed.as_slice() {
            [one] => format!("\"{one}\""),
            several => format!("one of {}", list(several)),
        };
    }
    let bound = |name: &str, exclusive: &str| schema.get(name).or_else(|| schema.get(exclusive));
    let range = match (
        bound("minimum", "exclusiveMinimum"),
        bound("maximum", "exclusiveMaximum"),
    ) {
        (Some(minimum), Some(maximum)) => format!(" from {minimum} to {maximum}"),
        (Some(minimum), None) => format!(" from {minimum} up"),
        (None, Some(maximum)) => format!(" up to {maximum}"),
        (None, None) => String::new(),
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => format!("a whole number{range}"),
        Some("number") => format!("a number{range}"),
        Some("string") => match schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => format!("text that matches {pattern}"),
            None => "text".to_owned(),
        },
        Some("boolean") => "true or false".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("object") => "a table".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// The texts that a schema allows, when it lists them.
fn allowed(schema: &Value) -> Option<Vec<&str>> {
    let texts: Vec<&str> = match (schema.get("enum"), schema.get("oneOf"), schema.get("const")) {
        (Some(Value::Array(values)), _, _) => values.iter().filter_map(Value::as_str).collect(),
        // An enum whose variants have descriptions.
        (_, Some(Value::Array(branches)), _) => branches
            .iter()
            .flat_map(|branch| {
                let one = branch.get("const").and_then(Value::as_str);
                let several = branch.get("enum").and_then(Value::as_array);
                one.into_iter()
                    .chain(several.into_iter().flatten().filter_map(Value::as_str))
            })
            .collect(),
        (_, _, Some(Value::String(text))) => vec![text],
        _ => return None,
    };
    (!texts.is_empty()).then_some(texts)
}

/// `` `a`, `b` or `c` ``
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .take(MAX_LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = if names.len() > MAX_LISTED {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", quoted.join(", "))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_QUOTED {
        return text.to_owned();
    }
    text.chars().take(MAX_QUOTED - 1).chain(['…']).collect()
}

/// What people call the table at a pointer: `[service.orders.config]`, `[[role.reader.access]]`.
pub(super) fn table_name(pointer: &str) -> String {
    let mut path: Vec<String> = segments(pointer).collect();
    if path.is_empty() {
        return "the file".to_owned();
    }
    let is_member = path
        .last()
        .is_some_and(|last| path.len() > 1 && last.parse::<usize>().is_ok());
    if is_member {
        path.pop();
        format!("[[{}]]", path.join("."))
    } else {
        // TOML names a table of the last member of a list without its number.
        path.retain(|segment| segment.parse::<usize>().is_err());
        format!("[{}]", path.join("."))
    }
}

/// What people call the value at a pointer: `` `port` ``, `` `verbs[0]` ``.
fn value_name(pointer: &str) -> String {
    let path: Vec<String> = segments(pointer).collect();
    match path.as_slice() {
        [] => "the file".to_owned(),
        [.., list, index] if index.parse::<usize>().is_ok() => format!("`{list}[{index}]`"),
        [.., name] => format!("`{name}`"),
    }
}

/// Whether a service may not have this name.
pub(super) fn is_reserved(name: &str) -> bool {
    ServiceName::RESERVED.contains(&name)
}
