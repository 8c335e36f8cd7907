//! What a call gave → the document that is answered (reference 7.2 and 7.3). Pure.

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::connector::database::results::Outcome;
use crate::error::{Error, Result};
use crate::exchange::write::json_string;

/// The member that holds rows beside OUT parameters.
const WRAPPER: &str = "resource";

/// `{"result_sets":[[…],…],"out":{…}}`: the same shape for every routine.
pub(super) fn full(outcome: &Outcome) -> Bytes {
    let mut out = BytesMut::new();
    out.extend_from_slice(b"{\"result_sets\":");
    write_sets(&mut out, &outcome.sets);
    out.extend_from_slice(b",\"out\":");
    out.extend_from_slice(outcome.out.as_deref().unwrap_or(b"{}"));
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The shapes of the reference:
///
/// * one result set: its rows in a bare array, or within `wrapper` if there is one;
/// * several: an array of such arrays; none: an empty one;
/// * OUT parameters alone: an object; beside rows, which are then within `wrapper` or `resource`.
pub(super) fn plain(outcome: &Outcome, wrapper: Option<&str>, outputs: &[String]) -> Bytes {
    let mut rows = BytesMut::new();
    match outcome.sets.as_slice() {
        [set] => write_rows(&mut rows, set),
        sets => write_sets(&mut rows, sets),
    }
    let mut out = BytesMut::new();
    match (&outcome.out, wrapper) {
        (None, None) => return rows.freeze(),
        (None, Some(wrapper)) => write_member(&mut out, wrapper, &rows),
        (Some(object), _) if outcome.sets.is_empty() => return object.clone(),
        (Some(object), wrapper) => {
            write_member(&mut out, wrapper.unwrap_or(&free_wrapper(outputs)), &rows);
            let members = object.strip_prefix(b"{").unwrap_or_default();
            if members != b"}" {
                out.extend_from_slice(b",");
            }
            out.extend_from_slice(members);
            return out.freeze();
        }
    }
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The value of the only member of the first row, or of the OUT parameters without rows; `null` without any.
pub(super) fn value(outcome: &Outcome) -> Result<Bytes> {
    let rows = outcome.sets.iter().find(|set| !set.is_empty());
    rows.or(outcome.out.as_ref())
        .map_or_else(|| Ok(Bytes::from_static(b"null")), |row| first_value(row))
}

/// The value of the first member of an object.
pub(super) fn first_value(row: &[u8]) -> Result<Bytes> {
    let members: IndexMap<String, Box<RawValue>> = serde_json::from_slice(row)
        .map_err(|error| Error::internal("a row is not an object").with_source(error))?;
    let value = members.into_iter().next();
    Ok(value.map_or_else(
        || Bytes::from_static(b"null"),
        |(_, value)| Bytes::from(value.get().to_owned()),
    ))
}

/// `resource`, with an underline behind it where an OUT parameter has that name.
fn free_wrapper(outputs: &[String]) -> String {
    let mut name = WRAPPER.to_owned();
    while outputs.contains(&name) {
        name.push('_');
    }
    name
}

/// `{"name":value`
fn write_member(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.extend_from_slice(b"{");
    json_string(out, name);
    out.extend_from_slice(b":");
    out.extend_from_slice(value);
}

fn write_rows(out: &mut BytesMut, rows: &[u8]) {
    out.extend_from_slice(b"[");
    out.extend_from_slice(rows);
    out.extend_from_slice(b"]");
}

fn write_sets(out: &mut BytesMut, sets: &[Bytes]) {
    out.extend_from_slice(b"[");
    for (index, set) in sets.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        write_rows(out, set);
    }
    out.extend_from_slice(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(sets: &[&'static str], out: Option<&'static str>) -> Outcome {
        Outcome {
            sets: sets
                .iter()
                .map(|set| Bytes::from_static(set.as_bytes()))
                .collect(),
            out: out.map(|out| Bytes::from_static(out.as_bytes())),
        }
    }

    #[test]
    fn answers_have_the_shapes_of_the_reference() {
        let (one, two) = (r#"{"id":1},{"id":2}"#, r#"{"n":3}"#);
        let out = Some(r#"{"p_done":1}"#);
        for (sets, out, wrapper, expected) in [
            (&[one][..], None, None, r#"[{"id":1},{"id":2}]"#),
            (
                &[one],
                None,
                Some("rows"),
                r#"{"rows":[{"id":1},{"id":2}]}"#,
            ),
            (
                &[one, two],
                None,
                None,
                r#"[[{"id":1},{"id":2}],[{"n":3}]]"#,
            ),
            (&[], None, None, "[]"),
            (&[""], None, None, "[]"),
            (&[], out, None, r#"{"p_done":1}"#),
            (&[], out, Some("rows"), r#"{"p_done":1}"#),
            (&[two], out, None, r#"{"resource":[{"n":3}],"p_done":1}"#),
            (
                &[two],
                out,
                Some("rows"),
                r#"{"rows":[{"n":3}],"p_done":1}"#,
            ),
            (
                &[two, two],
                out,
                None,
                r#"{"resource":[[{"n":3}],[{"n":3}]],"p_done":1}"#,
            ),
            (&[two], Some("{}"), None, r#"{"resource":[{"n":3}]}"#),
        ] {
            assert_eq!(plain(&outcome(sets, out), wrapper, &[]), expected);
        }
        let taken = outcome(&[two], Some(r#"{"resource":1}"#));
        assert_eq!(
            plain(&taken, None, &["resource".to_owned()]),
            r#"{"resource_":[{"n":3}],"resource":1}"#
        );
        assert_eq!(
            full(&outcome(&[one, two], Some(r#"{"p_done":1}"#))),
            r#"{"result_sets":[[{"id":1},{"id":2}],[{"n":3}]],"out":{"p_done":1}}"#
        );
        assert_eq!(full(&outcome(&[], None)), r#"{"result_sets":[],"out":{}}"#);
    }

    #[test]
    fn one_value_is_that_of_the_first_row_or_the_first_parameter() {
        let value_of = |sets: &[&'static str], out| value(&outcome(sets, out)).unwrap();
        assert_eq!(value_of(&["", r#"{"a":1.50}"#], None), "1.50");
        assert_eq!(value_of(&[""], Some(r#"{"p":"x"}"#)), "\"x\"");
        assert_eq!(value_of(&[], None), "null");
    }
}
