//! What a call of a routine says: its arguments in all their forms, and how it wants to be answered. Pure.

use serde_json::value::RawValue;

use crate::connector::database::request::{self, Download, Record, parse_object};
use crate::connector::database::shown::ShownAs;
use crate::error::{Error, ErrorKind, Result, brief, nearest};
use crate::exchange::query::truth;
use crate::exchange::{Query, RequestHead};

/// Options of a call, which no parameter can be given through the query string under the same name. Those of the
/// gateway itself come last.
const OPTIONS: [&str; 13] = [
    "wrapper",
    "returns",
    "result",
    "schema",
    "refresh",
    "file",
    "accept",
    "method",
    "api_key",
    "session_token",
    "wrap",
    "_",
    "fields",
];

/// Members of a body.
const MEMBERS: [&str; 5] = ["params", "schema", "wrapper", "returns", "result"];

/// Members that may stand beside the `value` of an argument. Types are those of the database's own declaration.
const BESIDE_VALUE: [&str; 4] = ["name", "type", "param_type", "length"];

/// One argument as it was sent.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    /// Nothing stands there: the default is meant.
    Absent,
    /// A JSON value.
    Json(Box<RawValue>),
    /// Text of a path, a query string or a list separated by commas.
    Text(String),
    /// `null` in such a list.
    Null,
}

/// The arguments of a call.
#[derive(Clone, Debug, Default)]
pub(super) enum Arguments {
    /// None at all.
    #[default]
    None,
    /// By position.
    Positional(Vec<Argument>),
    /// By name.
    Named(Vec<(String, Argument)>),
}

impl Arguments {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Positional(list) => list.is_empty(),
            Self::Named(list) => list.is_empty(),
        }
    }
}

/// What a caller wants of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever there is.
    #[default]
    Everything,
    /// The first value of the first row, as this type.
    Value(ShownAs),
}

/// A call, taken apart.
#[derive(Clone, Debug, Default)]
pub(super) struct CallRequest {
    /// The arguments.
    pub(super) arguments: Arguments,
    /// The member that holds the rows; without one, `resource` where there must be one.
    pub(super) wrapper: Option<String>,
    /// What is wanted of the result.
    pub(super) wanted: Wanted,
    /// Columns and OUT parameters that are to be shown as another type.
    pub(super) shown_as: Vec<(String, ShownAs)>,
    /// Whether the uniform answer is wanted.
    pub(super) is_full: bool,
    /// Whether procedures and functions are to be read anew first.
    pub(super) refresh: bool,
    /// Whether the answer is a file.
    pub(super) download: Option<Download>,
}

/// A path segment → the routine's name and the text in parentheses behind it, if there is one.
pub(super) fn path_call(segment: &str) -> (&str, Option<&str>) {
    let inline = segment
        .strip_suffix(')')
        .and_then(|segment| segment.split_once('('));
    match inline {
        Some((name, arguments)) => (name.trim_end(), Some(arguments)),
        None => (segment, None),
    }
}

/// Reads a call. Arguments are those of the body; without any there, those in parentheses; without those, the options
/// of the query string that are none of [`OPTIONS`].
pub(super) fn received(
    head: &RequestHead,
    query: &Query,
    inline: Option<&str>,
    bytes: &[u8],
) -> Result<CallRequest> {
    let mut asked = CallRequest::default();
    let members = request::object_body(head, bytes)?;
    for (name, value) in members.iter().flatten() {
        asked.member(name, value)?;
    }
    let mut named = Vec::new();
    for (name, value) in query.pairs() {
        if OPTIONS.contains(&name) {
            asked.option(name, value, members.as_ref())?;
        } else {
            named.push((name.to_owned(), Argument::Text(value.to_owned())));
        }
    }
    let sources = [
        std::mem::take(&mut asked.arguments),
        match inline {
            Some(text) => Arguments::Positional(separated(text)?),
            None => Arguments::None,
        },
        Arguments::Named(named),
    ];
    let mut sources = sources.into_iter().filter(|source| !source.is_empty());
    asked.arguments = sources.next().unwrap_or_default();
    if let Some(Arguments::Named(left)) = sources.next_back()
        && let Some((name, _)) = left.first()
    {
        return Err(unknown_option(name, std::iter::empty()).with_help(
            "the arguments are given elsewhere in the request: give all of them in one place",
        ));
    }
    Ok(asked)
}

/// The error for an option or an argument that is not there.
pub(super) fn unknown_option<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(
        ErrorKind::UnknownParameter,
        format!("unknown parameter '{}'", brief(name)),
    );
    let known: Vec<&str> = known.filter(|known| !known.is_empty()).collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => error.with_help(format!("did you mean '{near}'?")),
        None if known.is_empty() => error.with_help("it takes no named parameters"),
        None => error.with_help(format!("its parameters are {}", known.join(", "))),
    }
}

impl CallRequest {
    /// An option of the query string, unless the body says otherwise.
    fn option(&mut self, name: &str, value: &str, members: Option<&Record>) -> Result<()> {
        if members.is_some_and(|members| members.contains_key(name)) {
            // "body, then query" (reference 7.2).
            return Ok(());
        }
        match name {
            "wrapper" => self.wrapper = Some(wrapper(value)?),
            "returns" => self.wanted = wanted(value)?,
            "result" => self.is_full = is_full(value)?,
            "schema" => {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    "'schema' of a call is a member of the body",
                )
                .with_help(r#"send {"schema":{"total":"float"}}"#));
            }
            "refresh" => {
                self.refresh = truth(value).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidParameter,
                        format!(
                            "option 'refresh' must be true or false, not '{}'",
                            brief(value)
                        ),
                    )
                })?;
            }
            "file" => self.download = request::download(value)?,
            _ => {}
        }
        Ok(())
    }

    fn member(&mut self, name: &str, value: &RawValue) -> Result<()> {
        let text = || {
            serde_json::from_str::<String>(value.get()).map_err(|_no_text| {
                Error::new(
                    ErrorKind::InvalidBody,
                    format!("member '{}' of the body must be text", brief(name)),
                )
            })
        };
        match name {
            _ if value.get() == "null" && MEMBERS.contains(&name) => {}
            "params" => self.arguments = arguments(value)?,
            "wrapper" => self.wrapper = Some(wrapper(&text()?)?),
            "returns" => self.wanted = wanted(&text()?)?,
            "result" => self.is_full = is_full(&text()?)?,
            "schema" => self.shown_as = schema(value)?,
            other => {
                let error = Error::new(
                    ErrorKind::InvalidBody,
                    format!("the body of a call has no member '{}'", brief(other)),
                );
                return Err(match nearest(other, MEMBERS) {
                    Some(near) => error.with_help(format!("did you mean '{near}'?")),
                    None => error.with_help(r#"send {"params":{"name":"value"}}"#),
                });
            }
        }
        Ok(())
    }
}

fn wrapper(name: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "'wrapper' must name a member",
        ));
    }
    Ok(name.to_owned())
}

fn wanted(text: &str) -> Result<Wanted> {
    if text.is_empty() || text.eq_ignore_ascii_case("TABLE") {
        return Ok(Wanted::Everything);
    }
    Ok(Wanted::Value(type_named("returns", text)?))
}

fn is_full(text: &str) -> Result<bool> {
    match text {
        "" | "plain" => Ok(false),
        "full" => Ok(true),
        other => Err(Error::new(
            ErrorKind::InvalidParameter,
            format!("'result' is full or plain, not '{}'", brief(other)),
        )),
    }
}

fn type_named(what: &str, name: &str) -> Result<ShownAs> {
    ShownAs::parse(name).ok_or_else(|| {
        let names = ShownAs::NAMES.map(|(name, _)| name);
        let error = Error::new(
            ErrorKind::InvalidParameter,
            format!("'{}' is not a type for '{}'", brief(name), brief(what)),
        );
        match nearest(name, names) {
            Some(near) => error.with_help(format!("did you mean '{near}'?")),
            None => error.with_help(format!("types are {}", names.join(", "))),
        }
    })
}

fn schema(value: &RawValue) -> Result<Vec<(String, ShownAs)>> {
    let members = parse_object(value).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidBody,
            "member 'schema' of the body must be an object of types",
        )
        .with_help(r#"send {"schema":{"total":"float"}}"#)
    })?;
    members
        .into_iter()
        .map(|(column, value)| {
            let name: String = serde_json::from_str(value.get()).map_err(|_no_text| {
                Error::new(
                    ErrorKind::InvalidBody,
                    format!("the type of '{}' in 'schema' must be text", brief(&column)),
                )
            })?;
            let shown = type_named(&column, &name)?;
            Ok((column, shown))
        })
        .collect()
}

/// `params`: a list of values, a list of objects with `name` and `value`, an object by name, or text.
fn arguments(value: &RawValue) -> Result<Arguments> {
    let text = value.get();
    let invalid = || {
        Error::new(
            ErrorKind::InvalidBody,
            "member 'params' of the body must be a list or an object",
        )
        .with_help(r#"send {"params":[2026,4]} or {"params":{"p_year":2026}}"#)
    };
    match text.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<Box<RawValue>> =
                serde_json::from_str(text).map_err(|error| invalid().with_source(error))?;
            let named: Vec<Option<(String, Argument)>> =
                items.iter().map(|item| named_item(item)).collect();
            if !named.is_empty() && named.iter().all(Option::is_some) {
                return Ok(Arguments::Named(named.into_iter().flatten().collect()));
            }
            Ok(Arguments::Positional(
                items.into_iter().map(Argument::Json).collect(),
            ))
        }
        Some(b'{') => Ok(Arguments::Named(
            parse_object(value)
                .ok_or_else(invalid)?
                .into_iter()
                .map(|(name, value)| {
                    let value = wrapped_value(&value).unwrap_or(Argument::Json(value));
                    (name, value)
                })
                .collect(),
        )),
        Some(b'"') => {
            let text: String =
                serde_json::from_str(text).map_err(|error| invalid().with_source(error))?;
            Ok(Arguments::Positional(separated(&text)?))
        }
        _ => Err(invalid()),
    }
}

/// `{"name":"p_year","value":2026}`
fn named_item(item: &RawValue) -> Option<(String, Argument)> {
    let members = parse_object(item)?;
    let name: String = serde_json::from_str(members.get("name")?.get()).ok()?;
    let is_known = |member: &String| member == "value" || BESIDE_VALUE.contains(&member.as_str());
    members.keys().all(is_known).then(|| {
        let value = members.get("value").cloned();
        (name, value.map_or(Argument::Absent, Argument::Json))
    })
}

/// `{"value":2026}`
fn wrapped_value(value: &RawValue) -> Option<Argument> {
    let members = parse_object(value)?;
    let inner = members.get("value")?.clone();
    members
        .keys()
        .all(|member| member == "value" || BESIDE_VALUE.contains(&member.as_str()))
        .then_some(Argument::Json(inner))
}

/// Values separated by commas: text in single or double quotes (doubled within), `null`, or bare. What is empty is
/// left to its default.
fn separated(text: &str) -> Result<Vec<Argument>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start();
        let (argument, after) = if let Some(quote @ ('\'' | '"')) = start.chars().next() {
            let (value, after) = quoted(start, quote)?;
            (Argument::Text(value), after)
        } else {
            let (bare, after) = start.split_at(start.find(',').unwrap_or(start.len()));
            let bare = bare.trim_end();
            let argument = match bare {
                "" => Argument::Absent,
                _ if bare.eq_ignore_ascii_case("null") => Argument::Null,
                _ => Argument::Text(bare.to_owned()),
            };
            (argument, after)
        };
        list.push(argument);
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(list);
        }
        rest = after.strip_prefix(',').ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParameter,
                format!("a comma is missing before '{}'", brief(after)),
            )
        })?;
    }
}

/// A quoted text at the beginning, and what follows it.
fn quoted(text: &str, quote: char) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if character != quote {
            value.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            value.push(quote);
        } else {
            return Ok((
                value,
                text.get(index.saturating_add(1)..).unwrap_or_default(),
            ));
        }
    }
    Err(Error::new(
        ErrorKind::InvalidParameter,
        format!("the quote at '{}' is never closed", brief(text)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn call(query: &str, inline: Option<&str>, body: &str) -> Result<CallRequest> {
        let head = RequestHead {
            method: Method::POST,
            uri: "/api/v2/s/_proc/p".parse().unwrap(),
            headers: HeaderMap::new(),
            client: "127.0.0.1".parse().unwrap(),
        };
        received(
            &head,
            &Query::parse(query).unwrap(),
            inline,
            body.as_bytes(),
        )
    }

    fn shown(arguments: &Arguments) -> String {
        let one = |argument: &Argument| match argument {
            Argument::Absent => "absent".to_owned(),
            Argument::Null => "null".to_owned(),
            Argument::Json(value) => format!("json {}", value.get()),
            Argument::Text(text) => format!("text {text}"),
        };
        match arguments {
            Arguments::None => "none".to_owned(),
            Arguments::Positional(list) => list.iter().map(one).collect::<Vec<_>>().join(" | "),
            Arguments::Named(list) => list
                .iter()
                .map(|(name, value)| format!("{name}: {}", one(value)))
                .collect::<Vec<_>>()
                .join(" | "),
        }
    }

    #[test]
    fn arguments_come_in_all_forms_of_the_reference() {
        for (query, inline, body, expected) in [
            ("", None, "", "none"),
            (
                "",
                None,
                r#"{"params":[2026,"4"]}"#,
                "json 2026 | json \"4\"",
            ),
            (
                "",
                None,
                r#"{"params":{"p_year":2026}}"#,
                "p_year: json 2026",
            ),
            (
                "",
                None,
                r#"{"params":[{"name":"p_year","value":2026,"type":"integer"},{"name":"p_done"}]}"#,
                "p_year: json 2026 | p_done: absent",
            ),
            (
                "",
                None,
                r#"{"params":{"p_year":{"value":2026}}}"#,
                "p_year: json 2026",
            ),
            (
                "",
                None,
                r#"{"params":{"p":{"value":1,"more":2}}}"#,
                "p: json {\"value\":1,\"more\":2}",
            ),
            (
                "",
                None,
                r#"{"params":[{"name":"a","colour":1}]}"#,
                "json {\"name\":\"a\",\"colour\":1}",
            ),
            ("", None, r#"{"params":"2026, 4"}"#, "text 2026 | text 4"),
            ("", Some("2026,4"), "", "text 2026 | text 4"),
            (
                "",
                Some(" 'it''s, so' , \"a\"\"b\" ,, NULL"),
                "",
                "text it's, so | text a\"b | absent | null",
            ),
            ("", Some(""), "", "none"),
            ("p_year=2026&_=7&accept=x", None, "", "p_year: text 2026"),
            ("", Some("1"), r#"{"params":[2]}"#, "json 2"),
            ("", Some("1"), r#"{"params":[]}"#, "text 1"),
        ] {
            let asked = call(query, inline, body).unwrap();
            assert_eq!(
                shown(&asked.arguments),
                expected,
                "{query} {inline:?} {body}"
            );
        }
    }

    #[test]
    fn how_to_answer_is_read_from_the_body_and_then_from_the_query_string() {
        let asked = call(
            "wrapper=rows&returns=int",
            None,
            r#"{"wrapper":"list","schema":{"total":"float"},"result":"full"}"#,
        )
        .unwrap();
        assert_eq!(asked.wrapper.as_deref(), Some("list"));
        assert_eq!(asked.wanted, Wanted::Value(ShownAs::Integer));
        assert_eq!(asked.shown_as, [("total".to_owned(), ShownAs::Number)]);
        assert!(asked.is_full);
        let table = call("returns=table", None, "").unwrap();
        assert_eq!(table.wanted, Wanted::Everything);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_hint() {
        let refused = |query: &str, inline: Option<&str>, body: &str| {
            let error = call(query, inline, body).unwrap_err();
            (
                error.message().to_owned(),
                error.help().unwrap_or_default().to_owned(),
            )
        };
        let hint = |(_, help): (String, String)| help;
        assert_eq!(
            hint(refused("", None, r#"{"parms":[1]}"#)),
            "did you mean 'params'?"
        );
        assert_eq!(
            hint(refused("returns=interger", None, "")),
            "did you mean 'integer'?"
        );
        refused("", None, r#"{"params":7}"#);
        refused("", None, "[1]");
        refused("", None, "{");
        refused("", Some("'open"), "");
        refused("", Some("'a' b"), "");
        refused("result=all", None, "");
        refused("refresh=perhaps", None, "");
        refused("schema=x", None, "");
        assert_eq!(
            refused("p_year=1", None, r#"{"params":{"p_year":2}}"#).0,
            "unknown parameter 'p_year'"
        );
    }

    #[test]
    fn a_path_segment_is_a_name_with_or_without_arguments() {
        assert_eq!(path_call("close_month"), ("close_month", None));
        assert_eq!(path_call("close_month()"), ("close_month", Some("")));
        assert_eq!(path_call("f('a(b)')"), ("f", Some("'a(b)'")));
        assert_eq!(path_call("f(1"), ("f(1", None));
    }
}
