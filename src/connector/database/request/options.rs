//! The names of all options for records, and what the documentation says of them.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The calls on records that options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    List,
    Get,
    Create,
    Change,
    ChangeOne,
    Delete,
    DeleteOne,
}

use Call::{Change, ChangeOne, Create, Delete, DeleteOne, Get, List};

/// An option.
#[derive(Debug)]
pub(super) struct OptionName {
    /// Its name, as a member of [`RecordsOptions`].
    pub(super) name: &'static str,
    /// Other names that mean the same.
    pub(super) aliases: &'static [&'static str],
    calls: &'static [Call],
}

const ALL: &[Call] = &[List, Get, Create, Change, ChangeOne, Delete, DeleteOne];
const READS: &[Call] = &[List, Get];
const SELECTS: &[Call] = &[List, Change, Delete];
const BATCHES: &[Call] = &[Create, Change, Delete];

const fn option(
    name: &'static str,
    aliases: &'static [&'static str],
    calls: &'static [Call],
) -> OptionName {
    OptionName {
        name,
        aliases,
        calls,
    }
}

/// Every option that this module reads.
pub(super) const OPTIONS: &[OptionName] = &[
    option("fields", &["select"], ALL),
    option("related", &[], ALL),
    option("filter", &["where"], SELECTS),
    option("params", &[], SELECTS),
    option("ids", &[], SELECTS),
    option("id_field", &[], ALL),
    option("order", &["sort", "order_by"], &[List]),
    option("limit", &["top"], &[List]),
    option("offset", &["skip"], &[List]),
    option("cursor", &[], &[List]),
    option("group", &["group_by"], &[List]),
    option("having", &[], &[List]),
    option("include_count", &[], &[List]),
    option("count_only", &[], &[List]),
    option("include_schema", &[], &[List]),
    option("as_list", &[], &[List, Create, Change, Delete]),
    option("continue", &[], BATCHES),
    option("rollback", &[], BATCHES),
    option("upsert", &[], &[Create, Change, ChangeOne]),
    option("bulk", &[], &[Create]),
    option("allow_related_delete", &[], &[Create, Change, ChangeOne]),
    option("force", &[], &[Delete]),
    option("refresh", &[], READS),
    option("file", &[], READS),
    option("accept", &[], ALL),
];

/// Options that are read elsewhere or mean nothing here: credentials, tunnelling, a free name against caches, and
/// the type of a key, which the column decides.
pub(super) const READ_ELSEWHERE: &[&str] = &[
    "_",
    "accept",
    "method",
    "api_key",
    "session_token",
    "id_type",
];

/// The option of a name or of one of its aliases.
pub(super) fn find(name: &str) -> Option<&'static OptionName> {
    OPTIONS
        .iter()
        .find(|option| option.name == name || option.aliases.contains(&name))
}

/// The options for records, as query options; those of a body have the same names beside `resource`.
///
/// The struct documents; [`records_query`](super::records_query) reads. Each operation has a part of it.
#[derive(Debug, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the interface and stands alone"
)]
pub struct RecordsOptions {
    /// Columns to return, separated by commas, or `*` for all; with `group`, or alone, also `COUNT(*)`,
    /// `SUM(column)`, `AVG(column)`, `MIN(column)` and `MAX(column)`, which come as `COUNT_ALL`, `SUM_column` and so
    /// on. Left out: all columns on reads, the key on writes. Empty: the key. Also `select`.
    pub fields: String,
    /// Relations to embed, separated by commas, or `*` for all; `a.b` embeds b in a. Each takes `{relation}.fields`,
    /// `{relation}.filter`, `{relation}.order`, `{relation}.limit` and `{relation}.offset`.
    pub related: String,
    /// Which records: conditions such as `price >= 10 AND name LIKE 'C%'`, joined by AND, OR, NOT and parentheses.
    /// Operators: `= != > >= < <=`, `IN (…)`, `BETWEEN … AND …`, `LIKE`, `ILIKE`, `CONTAINS`, `STARTS WITH`,
    /// `ENDS WITH`, each word also with `NOT` before it, and `IS [NOT] NULL`. Text stands in single quotes. Also
    /// `where`.
    pub filter: String,
    /// Values for `:name` in the filter, as a JSON object: `{":since": "2026-01-01"}`.
    pub params: String,
    /// Keys of the records, separated by commas; composite ones as `(a=1,b=2)`, text with commas in single quotes.
    pub ids: String,
    /// Columns to take as the key instead of the primary key, separated by commas.
    pub id_field: String,
    /// Columns to order by, separated by commas, each with `asc` or `desc` and perhaps `nulls first` or `nulls last`.
    /// Also `sort`, `order_by`.
    pub order: String,
    /// Most records to return; 0, or more than the service allows, means as many as it allows. Also `top`.
    pub limit: u64,
    /// Records to skip. Also `skip`.
    pub offset: u64,
    /// The `meta.next_cursor` of the page before, to continue where it ended. Not together with `offset`.
    pub cursor: String,
    /// Columns to group by, separated by commas. Also `group_by`.
    pub group: String,
    /// Which groups: a filter over aggregates, such as `COUNT_ALL > 3` or `SUM(total) > 10`.
    pub having: String,
    /// Adds `meta.count`, the number of records without regard to `limit` and `offset`.
    pub include_count: bool,
    /// Answers the number of records alone.
    pub count_only: bool,
    /// Adds `meta.schema`, the description of the table.
    pub include_schema: bool,
    /// Answers only the key of each record.
    pub as_list: bool,
    /// Keeps the records that can be written and reports the others. Not together with `rollback`.
    pub r#continue: bool,
    /// Writes all records or none. That is so without it, too.
    pub rollback: bool,
    /// Changes a record if its key exists, and inserts it otherwise.
    pub upsert: bool,
    /// Imports a body of any size, which must be CSV or NDJSON: records are written while it arrives, all of them or
    /// none, or with `continue` those that can be written. The answer has no records but their number in
    /// `meta.count`, and errors name the line. Beside it only `continue`, `rollback`, `upsert` and `id_field` may
    /// stand.
    pub bulk: bool,
    /// Permits deleting every record of the table that the role admits.
    pub force: bool,
    /// Delete related records that a nested write takes out and that cannot be without the record around them.
    pub allow_related_delete: bool,
    /// Reads the table's description anew before the call.
    pub refresh: bool,
    /// Offers the answer as a download: `true`, or a file name whose extension chooses the format.
    pub file: String,
    /// Overrides the header `Accept`.
    pub accept: String,
}

/// Query options of GET on a collection.
pub fn list_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, List)
}

/// Query options of GET on a record.
pub fn get_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, Get)
}

/// Query options of POST on a collection.
pub fn create_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, Create)
}

/// Query options of PUT and PATCH on a collection.
pub fn change_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, Change)
}

/// Query options of PUT and PATCH on a record.
pub fn change_one_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, ChangeOne)
}

/// Query options of DELETE on a collection.
pub fn delete_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, Delete)
}

/// Query options of DELETE on a record.
pub fn delete_one_options(generator: &mut SchemaGenerator) -> Schema {
    part(generator, DeleteOne)
}

/// The schema of [`RecordsOptions`] with the options that one call takes; none is required.
fn part(generator: &mut SchemaGenerator, call: Call) -> Schema {
    let mut schema = RecordsOptions::json_schema(generator);
    schema.remove("required");
    schema.remove("description");
    if let Some(properties) = schema
        .get_mut("properties")
        .and_then(serde_json::Value::as_object_mut)
    {
        properties.retain(|name, _| find(name).is_some_and(|option| option.calls.contains(&call)));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: fn(&mut SchemaGenerator) -> Schema) -> Vec<String> {
        let schema = of(&mut SchemaGenerator::default());
        assert!(schema.get("required").is_none());
        schema
            .get("properties")
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }

    #[test]
    fn every_option_is_documented_and_every_documented_option_is_read() {
        let documented = names(|generator| {
            let mut schema = RecordsOptions::json_schema(generator);
            schema.remove("required");
            schema
        });
        let mut read: Vec<_> = OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(documented.len(), read.len());
        read.retain(|name| !documented.iter().any(|documented| documented == name));
        assert!(read.is_empty(), "not documented: {read:?}");
    }

    #[test]
    fn each_call_has_the_options_that_mean_something_to_it() {
        assert!(names(list_options).contains(&"filter".to_owned()));
        assert!(!names(get_options).contains(&"filter".to_owned()));
        assert!(names(create_options).contains(&"continue".to_owned()));
        assert!(names(change_options).contains(&"upsert".to_owned()));
        assert!(names(delete_options).contains(&"force".to_owned()));
        assert!(!names(delete_one_options).contains(&"force".to_owned()));
        assert!(names(change_one_options).contains(&"fields".to_owned()));
    }
}
