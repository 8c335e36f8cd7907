//! Query string, headers and body → what is asked. Pure. Names are not looked up here.

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::connector::filter::Filter;

/// Columns asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// `fields` was not sent: everything on reads, the key on writes.
    #[default]
    Default,
    /// `*`
    All,
    /// Names, and in a grouped query aggregates such as `SUM(total)`; empty asks for the key.
    Named(Vec<FieldItem>),
}

/// One item of `fields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldItem {
    /// A column by name.
    Column(String),
    /// An aggregate: function name as written in upper case, column or `*`.
    Aggregate(super::plan::Aggregate, Option<String>),
}

/// One item of `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderItem {
    /// A column, or an aggregate of a grouped query.
    pub item: FieldItem,
    /// `desc`
    pub descending: bool,
    /// `NULLS FIRST`, `NULLS LAST`
    pub nulls: Option<super::plan::Nulls>,
}

/// Options for one relation. The tree follows `related=a.b`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelatedRequest {
    /// The relation's name; `*` for all.
    pub name: String,
    /// `{rel}.fields`
    pub fields: Fields,
    /// `{rel}.filter`
    pub filter: Option<Filter>,
    /// `{rel}.order`
    pub order: Vec<OrderItem>,
    /// `{rel}.limit`, for each parent
    pub limit: Option<u64>,
    /// `{rel}.offset`, for each parent
    pub offset: u64,
    /// Relations of the related records.
    pub related: Vec<RelatedRequest>,
}

/// How to offer a result as a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Download {
    /// `file=true`: named after the resource.
    Unnamed,
    /// `file=customers.csv`
    Named(String),
}

/// Everything that a query string or a body can say about records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordsQuery {
    /// `fields`, `select`
    pub fields: Fields,
    /// `related`
    pub related: Vec<RelatedRequest>,
    /// `filter`, `where`
    pub filter: Option<Filter>,
    /// The filter as it was written, for cursors.
    pub filter_text: Option<String>,
    /// `order`, `sort`, `order_by`
    pub order: Vec<OrderItem>,
    /// `group`, `group_by`
    pub group: Vec<String>,
    /// `having`: a filter over names of aggregates (`COUNT_ALL > 3`, `SUM_total > 10`)
    pub having: Option<Filter>,
    /// `limit`, `top`; 0 means the maximum
    pub limit: Option<u64>,
    /// `offset`, `skip`
    pub offset: u64,
    /// `cursor`
    pub cursor: Option<String>,
    /// `ids`: one text each, composite ones as `a=1,b=2` members of a body
    pub ids: Option<Vec<Identifier>>,
    /// `id_field`
    pub id_field: Vec<String>,
    /// `include_count`
    pub include_count: bool,
    /// `count_only`
    pub count_only: bool,
    /// `include_schema`
    pub include_schema: bool,
    /// `as_list`
    pub as_list: bool,
    /// `continue`
    pub continue_on_error: bool,
    /// `rollback`
    pub rollback: bool,
    /// `upsert`
    pub upsert: bool,
    /// `force`
    pub force: bool,
    /// `refresh`
    pub refresh: bool,
    /// `file`
    pub download: Option<Download>,
}

/// The key of one record, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// One value, for a key of one column.
    Single(String),
    /// Column names and values: `a=1,b=2` in a path, an object in a body.
    Composite(Vec<(String, String)>),
}

/// A record as the caller sent it: names and untouched JSON texts, so that numbers keep their digits.
pub type Record = IndexMap<String, Box<RawValue>>;

/// A body of records.
#[derive(Debug, Default)]
pub struct RecordsBody {
    /// The records; one for a bare object.
    pub records: Vec<Record>,
    /// Whether the body was a bare object, neither wrapped in `resource` nor an array.
    pub is_bare: bool,
}

// TEMPORARY
pub fn received(
    head: &crate::exchange::RequestHead,
    query: &crate::exchange::Query,
    bytes: &[u8],
) -> crate::error::Result<(RecordsQuery, RecordsBody)> {
    let _ = (head, query, bytes);
    Err(crate::error::Error::internal("x"))
}
pub fn path_identifier(text: &str) -> crate::error::Result<Identifier> {
    Ok(Identifier::Single(text.to_owned()))
}
