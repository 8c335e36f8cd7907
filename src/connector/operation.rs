//! What a service can be asked: the table from which routing, permissions, documentation and metric labels come.

use std::borrow::Cow;

use http::Method;
use schemars::{Schema, SchemaGenerator};

use crate::error::{Error, ErrorKind, Result, brief};

/// Generates the schema of a query, a body or an answer.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a hang-up of the client means for a running operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is dropped where it stands.
    Reads,
    /// It runs to its end.
    Writes,
    /// It changes what records are made of, and runs to its end. It lies below [`super::access::SCHEMA`], so that only a
    /// role's row for just that can grant it.
    ChangesSchema,
}

/// One thing a service can be asked.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Stable name: the stem of the operation id, the metric label and the log field.
    pub name: &'static str,
    /// One line for the documentation.
    pub summary: &'static str,
    /// The method, and so the verb that a role must grant.
    pub method: Method,
    /// Path template below the service: `""` (root), `"/_table/{table}"`. A last `{name...}` takes the rest; a last
    /// `{name()}` may be followed by arguments in parentheses, which roles do not look at.
    pub path: &'static str,
    /// What a hang-up means.
    pub effect: Effect,
    /// Schema of the query options, the struct that also parses them.
    pub query: Option<SchemaOf>,
    /// Schema of the request body.
    pub request: Option<SchemaOf>,
    /// Schema of the answer.
    pub response: Option<SchemaOf>,
}

/// The component of a request: its path below the service, decoded segment by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    segments: Vec<String>,
    text: String,
    trailing_slash: bool,
}

impl Component {
    /// From decoded segments. A `/` inside a segment is kept apart from the separators in [`Component::as_str`].
    pub fn new(segments: Vec<String>, trailing_slash: bool) -> Self {
        let mut text =
            String::with_capacity(segments.iter().map(|segment| segment.len() + 1).sum());
        for (index, segment) in segments.iter().enumerate() {
            if index > 0 {
                text.push('/');
            }
            for (part, piece) in segment.split('/').enumerate() {
                if part > 0 {
                    text.push_str("%2F");
                }
                text.push_str(piece);
            }
        }
        Self {
            segments,
            text,
            trailing_slash,
        }
    }

    /// The decoded segments.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// What roles are matched against: segments joined by `/`, without one at either end; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path ended in `/`, which asks for a folder or a listing.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }
}

/// The values of a template's `{…}` in one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParameters(Vec<(&'static str, String)>);

impl PathParameters {
    /// The value of one of them; an internal error if the template has no such name.
    pub fn get(&self, name: &str) -> Result<&str> {
        self.0
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Error::internal(format!("the path template has no `{name}`")))
    }
}

/// Whether a path follows a template.
fn follows(template: &str, segments: &[String]) -> bool {
    let mut rest = segments.iter();
    for piece in pieces(template) {
        if piece.ends_with("...}") {
            return true;
        }
        match rest.next() {
            Some(segment) if piece.starts_with('{') || piece == segment => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

/// The values of a template's `{…}` in a path that follows it.
fn parameters(template: &'static str, segments: &[String]) -> PathParameters {
    let mut values = Vec::new();
    let mut rest = segments;
    for piece in pieces(template) {
        if let Some(name) = piece
            .strip_prefix('{')
            .and_then(|piece| piece.strip_suffix("...}"))
        {
            values.push((name, rest.join("/")));
            break;
        }
        let Some((segment, tail)) = rest.split_first() else {
            break;
        };
        if let Some(name) = piece
            .strip_prefix('{')
            .and_then(|piece| piece.strip_suffix('}'))
        {
            let name = name.strip_suffix("()").unwrap_or(name);
            values.push((name, segment.clone()));
        }
        rest = tail;
    }
    PathParameters(values)
}

/// What roles are matched against for a path: the component, without arguments in parentheses where an operation takes
/// such.
pub fn judged<'a>(operations: &[Operation], component: &'a Component) -> Cow<'a, str> {
    let text = component.as_str();
    let named = text
        .strip_suffix(')')
        .and_then(|_| component.segments().split_last())
        .and_then(|(last, before)| Some((last.split_once('(')?.0.trim_end(), before)));
    let Some((name, before)) = named else {
        return Cow::Borrowed(text);
    };
    let takes_arguments = operations.iter().any(|operation| {
        operation.path.ends_with("()}") && follows(operation.path, component.segments())
    });
    if !takes_arguments {
        return Cow::Borrowed(text);
    }
    let mut segments = before.to_vec();
    segments.push(name.to_owned());
    Cow::Owned(Component::new(segments, false).text)
}

fn pieces(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter(|piece| !piece.is_empty())
}

/// Finds the operation that `method` on `component` asks for. HEAD is served by GET.
///
/// Errors: 404 when no template matches, 405 with `Allow` when one does but not with this method.
pub fn find<'a>(
    operations: &'a [Operation],
    service: &str,
    method: &Method,
    component: &Component,
) -> Result<(&'a Operation, PathParameters)> {
    let wanted = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let found = operations.iter().find(|operation| {
        operation.method == *wanted && follows(operation.path, component.segments())
    });
    if let Some(operation) = found {
        return Ok((operation, parameters(operation.path, component.segments())));
    }
    let allowed: Vec<&Method> = operations
        .iter()
        .filter(|operation| follows(operation.path, component.segments()))
        .map(|operation| &operation.method)
        .collect();
    if allowed.is_empty() {
        return Err(Error::new(
            ErrorKind::UnknownResource,
            format!(
                "resource '{}' not found for service '{service}'",
                brief(component.as_str())
            ),
        ));
    }
    let allow = allow_header(&allowed);
    Err(Error::new(
        ErrorKind::MethodNotAllowed,
        format!(
            "{method} requests for resource '{}' are not supported by the '{service}' service",
            brief(component.as_str())
        ),
    )
    .with_help(format!("this resource takes {allow}"))
    .with_allow(allow))
}

/// The methods that a component takes, as `Allow` has them; none when no template matches.
pub fn allowed_methods(operations: &[Operation], component: &Component) -> Option<String> {
    let methods: Vec<&Method> = operations
        .iter()
        .filter(|operation| follows(operation.path, component.segments()))
        .map(|operation| &operation.method)
        .collect();
    (!methods.is_empty()).then(|| allow_header(&methods))
}

fn allow_header(methods: &[&Method]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for method in methods {
        if !names.contains(&method.as_str()) {
            names.push(method.as_str());
        }
        if **method == Method::GET && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
    }
    names.push("OPTIONS");
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn operation(name: &'static str, method: Method, path: &'static str) -> Operation {
        Operation {
            name,
            summary: "",
            method,
            path,
            effect: Effect::Reads,
            query: None,
            request: None,
            response: None,
        }
    }

    const OPERATIONS: &[Operation] = &[
        operation("root", Method::GET, ""),
        operation("list", Method::GET, "/_table/{table}"),
        operation("create", Method::POST, "/_table/{table}"),
        operation("file", Method::GET, "/files/{path...}"),
        operation("call", Method::POST, "/_proc/{routine()}"),
    ];

    fn component(path: &str) -> Component {
        Component::new(
            path.split('/')
                .filter(|segment| !segment.is_empty())
                .map(str::to_owned)
                .collect(),
            false,
        )
    }

    #[test]
    fn roles_do_not_look_at_arguments_in_parentheses() {
        for (path, expected) in [
            ("_proc/close_month(2026,4)", "_proc/close_month"),
            ("_proc/f('a(b)')", "_proc/f"),
            ("_proc/f(1", "_proc/f(1"),
            ("_table/t(1)", "_table/t(1)"),
            ("files/a(1)", "files/a(1)"),
            ("_proc", "_proc"),
        ] {
            assert_eq!(judged(OPERATIONS, &component(path)), expected);
        }
        let call = component("_proc/f(1)");
        let (operation, parameters) = find(OPERATIONS, "s", &Method::POST, &call).unwrap();
        assert_eq!(operation.name, "call");
        assert_eq!(parameters.get("routine").unwrap(), "f(1)");
    }

    #[test]
    fn paths_find_their_operation() {
        let found = |method: Method, path: &str| {
            find(OPERATIONS, "s", &method, &component(path)).map(|(operation, _)| operation.name)
        };
        assert_eq!(found(Method::GET, "").unwrap(), "root");
        assert_eq!(found(Method::GET, "_table/a").unwrap(), "list");
        assert_eq!(found(Method::HEAD, "_table/a").unwrap(), "list");
        assert_eq!(found(Method::GET, "files/a/b/c").unwrap(), "file");
        assert_eq!(
            found(Method::GET, "nope").unwrap_err().kind(),
            ErrorKind::UnknownResource
        );
        let refused = found(Method::DELETE, "_table/a").unwrap_err();
        assert_eq!(refused.allow(), Some("GET, HEAD, POST, OPTIONS"));
    }

    #[test]
    fn an_encoded_slash_stays_inside_its_segment() {
        let component = Component::new(vec!["_table".into(), "a/b".into()], false);
        assert_eq!(component.as_str(), "_table/a%2Fb");
    }
}
