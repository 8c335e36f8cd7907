//! Query string, headers and body → what is asked. Pure. Names are not looked up here.

mod body;
mod list;
mod options;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::plan::Aggregate;
use crate::connector::filter::{self, Filter, Parameters};
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::exchange::query::{decode_percent, truth};
use crate::exchange::{Query, RequestHead};

pub use body::{
    BodyOptions, BulkSyntax, Expect, MAX_BODY_DEPTH, MAX_RECORDS, bulk_syntax, no_records,
    parse_body, parse_object,
};
pub(super) use body::{bulk_header, bulk_members};
pub use list::{
    MAX_FIELDS, MAX_IDENTIFIERS, MAX_ORDER_ITEMS, MAX_RELATED_DEPTH, MAX_RELATED_ITEMS,
};
pub use options::{
    RecordsOptions, change_one_options, change_options, create_options, delete_one_options,
    delete_options, get_options, list_options,
};

use list::suggestion;
use options::{OPTIONS, OptionName, READ_ELSEWHERE};

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
    Aggregate(Aggregate, Option<String>),
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

/// Options for one relation. The tree follows `related=a.b`; a quoted name keeps its dots: `related="sales.a".b`.
///
/// `*` may stand beside named relations, which then only carry options of their own.
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the interface and stands alone"
)]
pub struct RecordsQuery {
    /// `fields`, `select`
    pub fields: Fields,
    /// `related`
    pub related: Vec<RelatedRequest>,
    /// `filter`, `where`
    pub filter: Option<Filter>,
    /// The filter as canonical text with the values of its parameters in it, for cursors.
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
    /// `ids`: one text each, composite ones as `(a=1,b=2)` or as objects of a body; never empty
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
    /// `bulk`
    pub bulk: bool,
    /// `allow_related_delete`
    pub allow_related_delete: bool,
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

impl Identifier {
    /// The text as it was written, for a table whose key is one column: `a=1,b=2` may be a text and no names.
    pub fn raw(&self) -> Cow<'_, str> {
        match self {
            Self::Single(value) => Cow::Borrowed(value),
            Self::Composite(pairs) => Cow::Owned(
                pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
        }
    }
}

/// The identifier in a path, decoded: `5`, `a=1,b=2`.
///
/// It is composite when it begins with `name=`; a part without `=` continues the value before it, so values may
/// hold commas. Whether that reading is right only the table's key can tell: where the key is one column and not
/// called so, [`Identifier::raw`] gives the segment back, byte for byte.
pub fn path_identifier(segment: &str) -> Identifier {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in segment.split(',') {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) if !name.is_empty() => {
                pairs.push((name.to_owned(), value.to_owned()));
            }
            (_, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (_, None) => return Identifier::Single(segment.to_owned()),
        }
    }
    Identifier::Composite(pairs)
}

impl FieldItem {
    /// The name under which the item stands in the answer: `name`, `SUM_total`, `COUNT_ALL`.
    pub fn output_name(&self) -> String {
        match self {
            Self::Column(name) => name.clone(),
            Self::Aggregate(function, column) => aggregate_name(*function, column.as_deref()),
        }
    }
}

/// The name of an aggregate in the answer and in `having`: `SUM_total`, `COUNT_ALL` for `COUNT(*)`.
pub fn aggregate_name(function: Aggregate, column: Option<&str>) -> String {
    format!("{}_{}", function_name(function), column.unwrap_or("ALL"))
}

const fn function_name(function: Aggregate) -> &'static str {
    match function {
        Aggregate::Count => "COUNT",
        Aggregate::Sum => "SUM",
        Aggregate::Average => "AVG",
        Aggregate::Minimum => "MIN",
        Aggregate::Maximum => "MAX",
    }
}

/// Reads the options for records from a query string and from a body; the query string wins.
///
/// Errors: an unknown option, one that is sent twice or cannot have its value, `continue` with `rollback`,
/// `cursor` with `offset`, and whatever the grammars of filters and lists refuse.
pub fn records_query(query: &Query, body: Option<&BodyOptions>) -> Result<RecordsQuery> {
    let given = Given::collect(query, body)?;
    let parameters = match given.get("params") {
        Some(value) => Parameters::from_json(&value.json("params")?)?,
        None => Parameters::default(),
    };
    let mut wanted = RecordsQuery {
        related: given.related(&parameters)?,
        filter: given.filter("filter", &parameters, filter::parse)?,
        having: given.filter("having", &parameters, filter::parse_having)?,
        order: match given.get("order") {
            Some(value) => list::order("order", &value.listed("order")?)?,
            None => Vec::new(),
        },
        group: given.names("group")?,
        id_field: given.names("id_field")?,
        limit: given.number("limit")?,
        offset: given.offset("offset")?,
        cursor: given
            .text("cursor")?
            .filter(|text| !text.is_empty())
            .map(Cow::into_owned),
        include_count: given.truth("include_count")?,
        count_only: given.truth("count_only")?,
        include_schema: given.truth("include_schema")?,
        as_list: given.truth("as_list")?,
        continue_on_error: given.truth("continue")?,
        rollback: given.truth("rollback")?,
        upsert: given.truth("upsert")?,
        bulk: given.truth("bulk")?,
        allow_related_delete: given.truth("allow_related_delete")?,
        force: given.truth("force")?,
        refresh: given.truth("refresh")?,
        ..RecordsQuery::default()
    };
    wanted.filter_text = wanted.filter.as_ref().map(ToString::to_string);
    if let Some(value) = given.get("fields") {
        wanted.fields = value.fields("fields", true)?;
        refuse_mixed(&wanted)?;
    }
    if let Some(value) = given.get("ids") {
        wanted.ids = Some(value.identifiers()?);
    }
    if let Some(text) = given.text("file")? {
        wanted.download = download(&text)?;
    }
    if wanted.continue_on_error && wanted.rollback {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "rollback and continue operations can not be requested at the same time",
        ));
    }
    if wanted.cursor.is_some() && wanted.offset > 0 {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "the options `cursor` and `offset` exclude each other",
        ));
    }
    Ok(wanted)
}

/// What head and body of a call on records say together.
///
/// A body of options alone is understood where it cannot be mistaken for a record: under GET, under DELETE on a
/// collection, and under a tunnelled verb (`X-HTTP-Method` and its like, or the option `method`) that takes no record from a bare object.
pub fn received(
    head: &RequestHead,
    query: &Query,
    bytes: &[u8],
) -> Result<(RecordsQuery, RecordsBody)> {
    const TUNNELS: [&str; 3] = [
        "x-http-method",
        "x-method-override",
        "x-http-method-override",
    ];
    let is_tunnelled = TUNNELS.iter().any(|name| head.headers.contains_key(*name))
        || query.get("method").is_some();
    let names_record = names_record(head.uri.path());
    let expect = if head.method == Method::GET
        || head.method == Method::HEAD
        || head.method == Method::DELETE && !names_record
        || is_tunnelled && (!names_record || head.method == Method::DELETE)
    {
        Expect::Tunnelled
    } else if names_record {
        Expect::Record
    } else {
        Expect::Collection
    };
    if !bytes.is_empty() {
        refuse_codings(&head.headers)?;
    }
    let (body, options) = parse_body(head.header(&CONTENT_TYPE), bytes, expect)?;
    Ok((records_query(query, options.as_ref())?, body))
}

/// Whether a query string asks for a bulk import.
pub fn asks_for_bulk(query: &str) -> bool {
    // Most calls have no such option, and need not be taken apart for it.
    query.contains("bulk")
        && Query::parse(query).is_ok_and(|query| query.get("bulk").and_then(truth) == Some(true))
}

/// What the head of a bulk import says. Its body is still to arrive.
///
/// Errors: 415 for a body that is neither CSV nor NDJSON, 400 for options that have no meaning here.
pub fn bulk(head: &RequestHead, query: &Query) -> Result<(RecordsQuery, BulkSyntax)> {
    refuse_codings(&head.headers)?;
    let syntax = bulk_syntax(head.header(&CONTENT_TYPE))?;
    let asked = records_query(query, None)?;
    let plain = RecordsQuery {
        id_field: asked.id_field.clone(),
        continue_on_error: asked.continue_on_error,
        rollback: asked.rollback,
        upsert: asked.upsert,
        bulk: asked.bulk,
        ..RecordsQuery::default()
    };
    if asked != plain {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "beside the option `bulk` there is one that has no meaning with it",
        )
        .with_help("`continue`, `rollback`, `upsert` and `id_field` may stand beside `bulk`"));
    }
    Ok((asked, syntax))
}

/// A body that is one object, whatever its members mean; none without a body.
///
/// Errors: as [`parse_body`] for one record.
pub fn object_body(head: &RequestHead, bytes: &[u8]) -> Result<Option<Record>> {
    if !bytes.is_empty() {
        refuse_codings(&head.headers)?;
    }
    let (mut body, _) = parse_body(head.header(&CONTENT_TYPE), bytes, Expect::Record)?;
    Ok(body.records.pop())
}

/// A compressed body is not read: it could grow without bound (RFC 9110 section 8.4 asks for 415).
fn refuse_codings(headers: &HeaderMap) -> Result<()> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let codings = String::from_utf8_lossy(value.as_bytes());
        let coding = codings
            .split(',')
            .map(str::trim)
            .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        if let Some(coding) = coding {
            return Err(Error::new(
                ErrorKind::UnsupportedMediaType,
                format!(
                    "a body with the content coding `{}` cannot be read",
                    brief(coding)
                ),
            )
            .with_help("send the body as it is, without Content-Encoding"));
        }
    }
    Ok(())
}

/// Whether a path goes on below `_table/{table}`.
fn names_record(path: &str) -> bool {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .skip_while(|segment| !decode_percent(segment).is_ok_and(|segment| segment == "_table"))
        .nth(2)
        .is_some()
}

/// Columns beside aggregates make sense only with groups.
fn refuse_mixed(wanted: &RecordsQuery) -> Result<()> {
    let Fields::Named(items) = &wanted.fields else {
        return Ok(());
    };
    let is_aggregate = |item: &&FieldItem| matches!(item, FieldItem::Aggregate(..));
    let column = items.iter().find(|item| !is_aggregate(item));
    match (column, items.iter().find(is_aggregate)) {
        (Some(column), Some(aggregate)) if wanted.group.is_empty() => Err(Error::new(
            ErrorKind::InvalidParameter,
            format!(
                "the option `fields` has the column `{}` beside the aggregate `{}`, but there is no `group`",
                brief(&column.output_name()),
                brief(&aggregate.output_name())
            ),
        )
        .with_help("name the columns to group by in `group`")),
        _ => Ok(()),
    }
}

/// What the option `file` says.
pub(super) fn download(text: &str) -> Result<Option<Download>> {
    const MAX_NAME_CHARACTERS: usize = 200;
    match truth(text) {
        Some(true) => return Ok(Some(Download::Unnamed)),
        Some(false) => return Ok(None),
        None => {}
    }
    let is_plain = |character: char| {
        !character.is_control()
            && !matches!(
                character,
                '/' | '\\' | '"' | ':' | '*' | '?' | '<' | '>' | '|'
            )
    };
    if text.starts_with('.')
        || text.chars().count() > MAX_NAME_CHARACTERS
        || !text.chars().all(is_plain)
    {
        return Err(invalid("file", "is not a file name").with_help("write `file=customers.csv`"));
    }
    Ok(Some(Download::Named(text.to_owned())))
}

fn invalid(option: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidParameter,
        format!("the option `{}` {what}", brief(option)),
    )
}

/// The value of an option, as it was sent.
#[derive(Clone, Copy)]
enum Value<'a> {
    Query(&'a str),
    Body(&'a RawValue),
}

impl<'a> Value<'a> {
    fn is_null(self) -> bool {
        matches!(self, Self::Body(raw) if raw.get() == "null")
    }

    /// A text, from a body a JSON string.
    fn text(self, option: &str) -> Result<Cow<'a, str>> {
        match self {
            Self::Query(text) => Ok(Cow::Borrowed(text)),
            Self::Body(raw) => string(raw.get())
                .map(Cow::Owned)
                .ok_or_else(|| invalid(option, "takes one text")),
        }
    }

    /// A text, from a body also a number or a truth value.
    fn plain(self, option: &str) -> Result<Cow<'a, str>> {
        match self {
            Self::Body(raw) if is_scalar_word(raw.get()) => Ok(Cow::Borrowed(raw.get())),
            other => other.text(option),
        }
    }

    /// A list as text; the items of a JSON array are put together with commas.
    fn listed(self, option: &str) -> Result<Cow<'a, str>> {
        match self {
            Self::Body(raw) if raw.get().starts_with('[') => {
                let items: Vec<String> = serde_json::from_str(raw.get()).map_err(|error| {
                    invalid(option, "takes a text or an array of texts").with_source(error)
                })?;
                Ok(Cow::Owned(items.join(",")))
            }
            other => other.text(option),
        }
    }

    /// A JSON text: from a query string as it stands, from a body the value itself or a string that holds it.
    fn json(self, option: &str) -> Result<Cow<'a, str>> {
        match self {
            Self::Body(raw) if raw.get().starts_with('{') => Ok(Cow::Borrowed(raw.get())),
            other => other.text(option),
        }
    }

    fn truth(self, option: &str) -> Result<bool> {
        truth(&self.plain(option)?).ok_or_else(|| {
            invalid(option, "is neither true nor false").with_help("write true or false")
        })
    }

    /// A whole number; one too large for 64 bits counts as the largest.
    fn number(self, option: &str) -> Result<u64> {
        let text = self.plain(option)?;
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid(option, "is not a whole number of at least 0"));
        }
        Ok(text.parse().unwrap_or(u64::MAX))
    }

    /// A number of records to skip: what databases can count.
    fn offset(self, option: &str) -> Result<u64> {
        let number = self.number(option)?;
        if i64::try_from(number).is_err() {
            return Err(invalid(option, "is too large"));
        }
        Ok(number)
    }

    fn fields(self, option: &str, aggregates: bool) -> Result<Fields> {
        let items = list::fields(option, &self.listed(option)?)?;
        let is_aggregate = |item: &FieldItem| matches!(item, FieldItem::Aggregate(..));
        let has_aggregate = items.iter().any(is_aggregate);
        if has_aggregate && !aggregates {
            return Err(invalid(option, "takes columns, not aggregates"));
        }
        if items
            .iter()
            .any(|item| matches!(item, FieldItem::Column(name) if name == "*"))
        {
            if has_aggregate {
                return Err(invalid(option, "has `*` beside an aggregate"));
            }
            return Ok(Fields::All);
        }
        Ok(Fields::Named(items))
    }

    fn identifiers(self) -> Result<Vec<Identifier>> {
        const NAME: &str = "ids";
        let identifiers = match self {
            Self::Body(raw) if raw.get().starts_with('[') => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(raw.get())
                    .map_err(|error| invalid(NAME, "is not an array").with_source(error))?;
                if items.len() > MAX_IDENTIFIERS {
                    return Err(invalid(
                        NAME,
                        &format!("has more than {MAX_IDENTIFIERS} items"),
                    ));
                }
                items
                    .iter()
                    .map(|item| json_identifier(item))
                    .collect::<Result<Vec<_>>>()?
            }
            other => list::identifiers(NAME, &other.plain(NAME)?)?,
        };
        if identifiers.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "the request contains no valid identifiers",
            )
            .with_help("write `ids=1,2,3`, or leave `ids` out"));
        }
        Ok(identifiers)
    }
}

/// The text of a JSON string.
fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// Whether a JSON text is a number or a truth value.
fn is_scalar_word(json: &str) -> bool {
    json.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | 't' | 'f'))
}

/// One identifier of an array: a plain value, or an object of column names and plain values.
fn json_identifier(item: &RawValue) -> Result<Identifier> {
    let plain = |json: &str| {
        if is_scalar_word(json) {
            return Ok(json.to_owned());
        }
        string(json).ok_or_else(|| {
            invalid("ids", "holds an identifier that is no plain value")
                .with_help("write [1, 2], or [{\"a\": 1, \"b\": 2}] for keys of several columns")
        })
    };
    if !item.get().starts_with('{') {
        return plain(item.get()).map(Identifier::Single);
    }
    let members = body::record(item.get())?;
    if members.is_empty() {
        return Err(invalid("ids", "holds an empty object"));
    }
    members
        .into_iter()
        .map(|(name, value)| Ok((name, plain(value.get())?)))
        .collect::<Result<_>>()
        .map(Identifier::Composite)
}

/// The options that were sent, each once.
struct Given<'a> {
    values: Vec<(&'static OptionName, Value<'a>)>,
    /// Options of relations, those of the query string first, under the names that they were sent with.
    others: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Given<'a> {
    fn collect(query: &'a Query, body: Option<&'a BodyOptions>) -> Result<Self> {
        let mut given = Self {
            values: Vec::new(),
            others: Vec::new(),
        };
        for (name, text) in query.pairs() {
            given.take(name, Value::Query(text))?;
        }
        for (name, raw) in body.into_iter().flat_map(BodyOptions::members) {
            given.take(name, Value::Body(raw))?;
        }
        Ok(given)
    }

    fn take(&mut self, name: &'a str, value: Value<'a>) -> Result<()> {
        if READ_ELSEWHERE.contains(&name) || value.is_null() {
            return Ok(());
        }
        if name == "wrap" {
            return if value.truth(name)? {
                Ok(())
            } else {
                Err(invalid(name, "cannot be false")
                    .with_help("ask for NDJSON or CSV to get records without a wrapper"))
            };
        }
        if let Some((stem, _)) = name.split_once('[')
            && options::find(stem).is_some()
        {
            return Err(invalid(stem, "takes one text, not an array or an object"));
        }
        let Some(option) = options::find(name) else {
            self.others.push((name, value));
            return Ok(());
        };
        let before = self
            .values
            .iter()
            .find(|(known, _)| known.name == option.name);
        match (before, value) {
            (None, _) => self.values.push((option, value)),
            (Some((_, Value::Query(_))), Value::Body(_)) => {}
            (Some(_), _) => return Err(sent_twice(option.name)),
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.values
            .iter()
            .find(|(option, _)| option.name == name)
            .map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>> {
        self.get(name).map(|value| value.text(name)).transpose()
    }

    fn truth(&self, name: &str) -> Result<bool> {
        self.get(name).map_or(Ok(false), |value| value.truth(name))
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name).map(|value| value.number(name)).transpose()
    }

    fn offset(&self, name: &str) -> Result<u64> {
        self.get(name).map_or(Ok(0), |value| value.offset(name))
    }

    fn names(&self, name: &str) -> Result<Vec<String>> {
        match self.get(name) {
            Some(value) => list::names(name, &value.listed(name)?),
            None => Ok(Vec::new()),
        }
    }

    fn filter(
        &self,
        name: &str,
        parameters: &Parameters,
        parse: ParseFilter,
    ) -> Result<Option<Filter>> {
        match self.get(name) {
            Some(value) => filter_of(value, name, parameters, parse),
            None => Ok(None),
        }
    }

    /// The tree of relations with their options.
    fn related(&self, parameters: &Parameters) -> Result<Vec<RelatedRequest>> {
        let mut tree: Vec<RelatedRequest> = Vec::new();
        if let Some(value) = self.get("related") {
            for path in list::related("related", &value.listed("related")?)? {
                insert(&mut tree, &path);
            }
        }
        let mut taken: Vec<(Vec<String>, &'static str, bool)> = Vec::new();
        for (name, value) in &self.others {
            let (path, option) = relation_option(&tree, name)?;
            let in_query = matches!(value, Value::Query(_));
            let before = taken
                .iter()
                .find(|(known, known_option, _)| *known == path && *known_option == option);
            match before {
                Some((_, _, true)) if !in_query => continue,
                Some(_) => return Err(sent_twice(name)),
                None => {}
            }
            let relation = insert(&mut tree, &path);
            if let Some(relation) = relation {
                set(relation, option, *value, name, parameters)?;
            }
            taken.push((path, option, in_query));
        }
        Ok(tree)
    }
}

type ParseFilter = fn(&str, &Parameters) -> Result<Filter, filter::FilterError>;

/// A blank filter is none, as forms send it.
fn filter_of(
    value: Value<'_>,
    name: &str,
    parameters: &Parameters,
    parse: ParseFilter,
) -> Result<Option<Filter>> {
    let text = value.text(name)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    match parse(&text, parameters) {
        Ok(filter) => Ok(Some(filter)),
        Err(error) if name == "filter" => Err(error.into()),
        Err(error) => {
            let error = Error::from(error);
            let refused = Error::new(
                error.kind(),
                format!("option `{}`: {}", brief(name), error.message()),
            );
            Err(match error.help() {
                Some(help) => refused.with_help(help.to_owned()),
                None => refused,
            })
        }
    }
}

fn sent_twice(option: &str) -> Error {
    invalid(option, "is sent twice").with_help("send each option once, under one of its names")
}

/// Finds or adds the relation at the end of a path.
fn insert<'t>(
    tree: &'t mut Vec<RelatedRequest>,
    path: &[String],
) -> Option<&'t mut RelatedRequest> {
    let (first, rest) = path.split_first()?;
    let index = tree
        .iter()
        .position(|relation| relation.name.eq_ignore_ascii_case(first))
        .unwrap_or_else(|| {
            tree.push(RelatedRequest {
                name: first.clone(),
                ..RelatedRequest::default()
            });
            tree.len() - 1
        });
    let relation = tree.get_mut(index)?;
    if rest.is_empty() {
        Some(relation)
    } else {
        insert(&mut relation.related, rest)
    }
}

/// The options of one relation, by all their names.
const RELATION_OPTIONS: &[(&str, &str)] = &[
    ("fields", "fields"),
    ("select", "fields"),
    ("filter", "filter"),
    ("where", "filter"),
    ("order", "order"),
    ("order_by", "order"),
    ("sort", "order"),
    ("limit", "limit"),
    ("top", "limit"),
    ("offset", "offset"),
    ("skip", "offset"),
];

/// The relation and the option that `a.b.fields` or `a_b_fields` means, among the relations asked for.
fn relation_option(tree: &[RelatedRequest], name: &str) -> Result<(Vec<String>, &'static str)> {
    let readings = || {
        RELATION_OPTIONS.iter().filter_map(|(written, option)| {
            let stem = name.strip_suffix(written)?;
            let stem_dotted = stem.strip_suffix('.');
            let stem = stem_dotted.or_else(|| stem.strip_suffix('_'))?;
            (!stem.is_empty()).then_some((stem, stem_dotted.is_some(), *option))
        })
    };
    let mut paths = Vec::new();
    collect_paths(tree, &mut Vec::new(), &mut paths);
    let found = |same: fn(&str, &str) -> bool| {
        let mut matches: Vec<(Vec<String>, &'static str)> = Vec::new();
        for (stem, _, option) in readings() {
            for path in paths.iter().filter(|path| same(&path.join("."), stem)) {
                matches.push((path.clone(), option));
            }
        }
        matches
    };
    let mut matches = found(str::eq_ignore_ascii_case);
    if matches.is_empty() {
        matches = found(|path, stem| {
            path.replace('.', "_")
                .eq_ignore_ascii_case(&stem.replace('.', "_"))
        });
    }
    if matches.len() > 1 {
        return Err(invalid(name, "can mean several relations")
            .with_help("write a dot between relation and option, and between nested relations"));
    }
    if let Some(found) = matches.pop() {
        return Ok(found);
    }
    let dotted = readings().find(|(_, is_dotted, _)| *is_dotted);
    if let Some((stem, _, option)) = dotted {
        if tree.iter().any(|relation| relation.name == "*") && !stem.contains('.') {
            return Ok((vec![stem.to_owned()], option));
        }
        let asked: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
        return Err(unknown(name).with_help(
            match nearest(stem, asked.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}.{option}`?"),
                None => format!("ask for the relation as well: `related={}`", brief(stem)),
            },
        ));
    }
    let known = OPTIONS
        .iter()
        .flat_map(|option| std::iter::once(option.name).chain(option.aliases.iter().copied()));
    Err(unknown(name).with_help(suggestion(name, known, "options")))
}

fn unknown(name: &str) -> Error {
    Error::new(
        ErrorKind::UnknownParameter,
        format!("unknown option `{}`", brief(name)),
    )
}

fn collect_paths(tree: &[RelatedRequest], above: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    for relation in tree {
        above.push(relation.name.clone());
        paths.push(above.clone());
        collect_paths(&relation.related, above, paths);
        above.pop();
    }
}

fn set(
    relation: &mut RelatedRequest,
    option: &str,
    value: Value<'_>,
    name: &str,
    parameters: &Parameters,
) -> Result<()> {
    match option {
        "fields" => relation.fields = value.fields(name, false)?,
        "filter" => relation.filter = filter_of(value, name, parameters, filter::parse)?,
        "order" => relation.order = list::order(name, &value.listed(name)?)?,
        "limit" => relation.limit = Some(value.number(name)?),
        _ => relation.offset = value.offset(name)?,
    }
    Ok(())
}
