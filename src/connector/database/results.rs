//! The result sets of one call, which come one after another and are kept whole: only behind the last one is it known
//! how the answer looks.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;

use super::catalog::Type;
use super::options::DatabaseOptions;
use super::rows::{Frame, MAX_WHOLE_BYTES, RowWriter, Shape};
use super::shown::ShownAs;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;

/// Most result sets of one call.
pub const MAX_RESULT_SETS: usize = 256;

/// Takes the result sets of a call.
///
/// For each of them a driver calls [`Results::begin`], writes the rows and calls [`Results::end`]. All of them together
/// may have [`MAX_WHOLE_BYTES`].
pub struct Results {
    options: DatabaseOptions,
    shown_as: Vec<(String, ShownAs)>,
    first: Option<ShownAs>,
    sets: Vec<Bytes>,
    bytes: usize,
}

/// What a call gave: objects separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rows of each result set.
    pub sets: Vec<Bytes>,
    /// One object with the OUT parameters, if there are any.
    pub out: Option<Bytes>,
}

impl Results {
    /// Nothing yet. Columns of these names are shown as other types; with `first`, only the first value of each set is
    /// kept, as this type.
    pub fn new(
        options: &DatabaseOptions,
        shown_as: Vec<(String, ShownAs)>,
        first: Option<ShownAs>,
    ) -> Self {
        Self {
            options: options.clone(),
            shown_as,
            first,
            sets: Vec::new(),
            bytes: 0,
        }
    }

    /// The writer for the next result set, whose columns have these names. Columns without a name, or with one that
    /// another has as well, get one.
    pub fn begin(&self, names: Vec<String>) -> Result<RowWriter> {
        self.begin_as(names, &[])
    }

    /// The same for columns that are known to be of these kinds, whatever the database makes of them.
    pub fn begin_as(&self, names: Vec<String>, kinds: &[Type]) -> Result<RowWriter> {
        if self.sets.len() >= MAX_RESULT_SETS {
            return Err(Error::new(
                ErrorKind::PayloadTooLarge,
                format!("the routine gave more than {MAX_RESULT_SETS} result sets"),
            ));
        }
        let mut shape = Shape::new(each_once(names), Frame::Bare, Format::Json);
        shape.numbers = self.options.numbers;
        shape.datetimes = self.options.datetimes;
        shape.shown_as = shown_columns(&shape.names, &self.shown_as);
        for (column, kind) in kinds.iter().enumerate() {
            let is_chosen = shape.shown_as.iter().any(|(chosen, _)| *chosen == column);
            if let Some(shown) = ShownAs::of(kind)
                && !is_chosen
            {
                shape.shown_as.push((column, shown));
            }
        }
        if let Some(first) = self.first {
            shape.visible = shape.visible.min(1);
            shape.page = Some(1);
            shape.shown_as.retain(|(column, _)| *column != 0);
            shape.shown_as.push((0, first));
        }
        Ok(RowWriter::new(Arc::new(shape), None))
    }

    /// Takes a result set that is complete.
    pub fn end(&mut self, rows: RowWriter) -> Result<()> {
        let bytes = rows.finish(&Map::new());
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_WHOLE_BYTES {
            return Err(Error::new(
                ErrorKind::PayloadTooLarge,
                format!("the answer would be larger than {MAX_WHOLE_BYTES} bytes"),
            ));
        }
        self.sets.push(bytes);
        Ok(())
    }

    /// What was taken.
    pub fn into_sets(self) -> Vec<Bytes> {
        self.sets
    }
}

/// Indexes of the columns of these names; ASCII case does not count.
pub(super) fn shown_columns(
    names: &[String],
    shown_as: &[(String, ShownAs)],
) -> Vec<(usize, ShownAs)> {
    names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| {
            let (_, shown) = shown_as
                .iter()
                .find(|(wanted, _)| wanted.eq_ignore_ascii_case(name))?;
            Some((index, *shown))
        })
        .collect()
}

/// `total`, `total_2`, `column3`: members of one object cannot share a name or have none.
fn each_once(names: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let stem = if name.is_empty() {
            format!("column{}", index.saturating_add(1))
        } else {
            name
        };
        let mut chosen = stem.clone();
        let mut number = 2_u32;
        while unique.contains(&chosen) {
            chosen = format!("{stem}_{number}");
            number = number.saturating_add(1);
        }
        unique.push(chosen);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::value::Value;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn columns_get_names_of_their_own() {
        assert_eq!(
            each_once(names(&["a", "", "a", "a", "a_2"])),
            ["a", "column2", "a_2", "a_3", "a_2_2"]
        );
    }

    #[test]
    fn result_sets_are_kept_as_rows_and_bounded_in_number() {
        let shown_as = vec![("TOTAL".to_owned(), ShownAs::Number)];
        let mut results = Results::new(&DatabaseOptions::default(), shown_as, None);
        for text in ["99.50", "7"] {
            let mut rows = results.begin(names(&["total"])).unwrap();
            assert!(rows.begin_row());
            rows.value(&Value::Text(text));
            rows.end_row();
            results.end(rows).unwrap();
        }
        let empty = results.begin(names(&["total"])).unwrap();
        results.end(empty).unwrap();
        for _ in 3..MAX_RESULT_SETS {
            let rows = results.begin(Vec::new()).unwrap();
            results.end(rows).unwrap();
        }
        assert!(results.begin(Vec::new()).is_err());
        let sets = results.into_sets();
        assert_eq!(&sets[..3], [r#"{"total":99.50}"#, r#"{"total":7}"#, ""]);
    }

    #[test]
    fn the_first_value_alone_can_be_kept() {
        let mut results = Results::new(
            &DatabaseOptions::default(),
            Vec::new(),
            Some(ShownAs::Integer),
        );
        let mut rows = results.begin(names(&["a", "b"])).unwrap();
        assert!(rows.begin_row());
        rows.value(&Value::Text("7"));
        rows.value(&Value::Text("x"));
        rows.end_row();
        assert!(!rows.begin_row());
        results.end(rows).unwrap();
        assert_eq!(results.into_sets(), [r#"{"a":7}"#]);
    }
}
