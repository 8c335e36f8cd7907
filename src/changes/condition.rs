//! Under which conditions something is granted, and whether one condition admits more than another.

use std::collections::BTreeSet;

use crate::connector::access::{Grant, Lookups};
use crate::connector::filter::{Comparison, Field, Filter, Operand};

/// Which records and which columns a grant is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The filter, as a role writes it; none for every record.
    pub filter: Option<String>,
    /// The columns, sorted; none for every column.
    pub fields: Option<Vec<String>>,
}

impl Condition {
    pub(super) fn of(grant: &Grant) -> Self {
        Self {
            filter: grant.filter.as_ref().map(ToString::to_string),
            fields: fields(grant),
        }
    }
}

/// In which direction a condition goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It admits more.
    Widened,
    /// It admits less.
    Narrowed,
    /// It admits something else: nobody can say that nothing is gained, or that nothing is lost.
    Either,
}

impl Direction {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Widened => "widened",
            Self::Narrowed => "narrowed",
            Self::Either => "either",
        }
    }
}

/// Other records than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilterChange {
    /// The filter before, as a role writes it.
    pub before: Option<String>,
    /// The filter now.
    pub after: Option<String>,
    /// Lookups of the filter that have other values now.
    pub lookups: Vec<String>,
    /// Whether that is more.
    pub direction: Direction,
}

/// Other columns than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldsChange {
    /// The columns before, sorted; none for all of them.
    pub before: Option<Vec<String>>,
    /// The columns now.
    pub after: Option<Vec<String>>,
    /// Whether those are more.
    pub direction: Direction,
}

impl FieldsChange {
    /// Columns that are new; all but those before when there is no list now.
    pub fn gained(&self) -> Vec<&String> {
        missing(self.after.as_ref(), self.before.as_ref())
    }

    /// Columns that are gone.
    pub fn lost(&self) -> Vec<&String> {
        missing(self.before.as_ref(), self.after.as_ref())
    }
}

/// The members of one list that another lacks.
fn missing<'a>(of: Option<&'a Vec<String>>, other: Option<&Vec<String>>) -> Vec<&'a String> {
    of.into_iter()
        .flatten()
        .filter(|name| !other.is_some_and(|other| other.contains(name)))
        .collect()
}

fn fields(grant: &Grant) -> Option<Vec<String>> {
    let fields = grant.fields.as_ref()?;
    Some(fields.iter().cloned().collect())
}

/// How the columns of two grants differ; none if they do not.
pub(super) fn fields_change(before: &Grant, after: &Grant) -> Option<FieldsChange> {
    let direction = match (&before.fields, &after.fields) {
        (None, None) => return None,
        (None, Some(_)) => Direction::Narrowed,
        (Some(_), None) => Direction::Widened,
        (Some(before), Some(after)) if before == after => return None,
        (Some(before), Some(after)) if before.is_subset(after) => Direction::Widened,
        (Some(before), Some(after)) if after.is_subset(before) => Direction::Narrowed,
        (Some(_), Some(_)) => Direction::Either,
    };
    Some(FieldsChange {
        before: fields(before),
        after: fields(after),
        direction,
    })
}

/// How the records of two grants differ, each with the values of its caller; none if they provably do not.
pub(super) fn filter_change(
    (before, before_lookups): (&Grant, &Lookups),
    (after, after_lookups): (&Grant, &Lookups),
) -> Option<FilterChange> {
    let old = bound(before.filter.as_deref(), before_lookups);
    let new = bound(after.filter.as_deref(), after_lookups);
    let direction = match (new.within(&old), old.within(&new)) {
        (true, true) => return None,
        (true, false) => Direction::Narrowed,
        (false, true) => Direction::Widened,
        (false, false) => Direction::Either,
    };
    let names = |grant: &Grant| -> BTreeSet<String> {
        let filter = grant.filter.iter();
        filter
            .flat_map(|filter| filter.lookups().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let lookups = names(before)
        .intersection(&names(after))
        .filter(|name| before_lookups.get(name) != after_lookups.get(name))
        .cloned()
        .collect();
    let text = |grant: &Grant| grant.filter.as_ref().map(ToString::to_string);
    Some(FilterChange {
        before: text(before),
        after: text(after),
        lookups,
        direction,
    })
}

/// Which records a filter admits.
enum Admitted {
    All,
    Nothing,
    Those(Filter),
}

impl Admitted {
    /// Whether every record of this one is provably among those of the other.
    fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::All) => true,
            (Self::All | Self::Those(_), Self::Nothing) | (Self::All, Self::Those(_)) => false,
            (Self::Those(filter), Self::Those(other)) => implies(filter, other),
        }
    }
}

/// A filter with the values of a caller.
fn bound(filter: Option<&Filter>, lookups: &Lookups) -> Admitted {
    let Some(filter) = filter else {
        return Admitted::All;
    };
    // One name without a value closes the whole filter.
    let is_closed = filter
        .lookups()
        .any(|name| is_ours(name) && lookups.get(name).is_none_or(str::is_empty));
    if is_closed {
        return Admitted::Nothing;
    }
    Admitted::Those(canonical(filter, &|operand| match operand {
        Operand::Lookup(name) if is_ours(name) => {
            Operand::Text(lookups.get(name).unwrap_or_default().to_owned())
        }
        other => other.clone(),
    }))
}

/// Whether the tree itself gives the value of a name. What only a request knows stays a name.
fn is_ours(name: &str) -> bool {
    ["lookup.", "key.", "app.", "role."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// What a filter says, apart from how it is written: `a = 1 AND b = 2` is `b=2 and (a=1)`.
pub(super) fn canonical_text(filter: &Filter) -> String {
    canonical(filter, &Operand::clone).to_string()
}

/// A filter without positions, flat, and in one order. The depth is that of the filter, which its parser bounds.
fn canonical(filter: &Filter, operand: &dyn Fn(&Operand) -> Operand) -> Filter {
    let name = |field: &Field| Field {
        name: field.name.clone(),
        position: 0,
    };
    let parts = |list: &[Filter], inner: fn(Filter) -> Result<Vec<Filter>, Filter>| {
        let mut parts: Vec<Filter> = Vec::with_capacity(list.len());
        for part in list {
            match inner(canonical(part, operand)) {
                Ok(flat) => parts.extend(flat),
                Err(part) => parts.push(part),
            }
        }
        parts.sort_by_cached_key(Filter::to_string);
        parts.dedup();
        parts
    };
    match filter {
        Filter::And(list) => {
            let parts = parts(list, |part| match part {
                Filter::And(parts) => Ok(parts),
                other => Err(other),
            });
            alone(parts, Filter::And)
        }
        Filter::Or(list) => {
            let parts = parts(list, |part| match part {
                Filter::Or(parts) => Ok(parts),
                other => Err(other),
            });
            alone(parts, Filter::Or)
        }
        Filter::Not(inner) => Filter::Not(Box::new(canonical(inner, operand))),
        Filter::Exists { relation, filter } => Filter::Exists {
            relation: name(relation),
            filter: filter
                .as_ref()
                .map(|filter| Box::new(canonical(filter, operand))),
        },
        Filter::Compare {
            field,
            operator,
            value,
        } => Filter::Compare {
            field: name(field),
            operator: *operator,
            value: operand(value),
        },
        Filter::In {
            field,
            values,
            negated,
        } => {
            let mut values: Vec<Operand> = values.iter().map(operand).collect();
            values.sort_by_cached_key(Operand::to_string);
            values.dedup();
            Filter::In {
                field: name(field),
                values,
                negated: *negated,
            }
        }
        Filter::Between {
            field,
            low,
            high,
            negated,
        } => Filter::Between {
            field: name(field),
            low: operand(low),
            high: operand(high),
            negated: *negated,
        },
        Filter::IsNull { field, negated } => Filter::IsNull {
            field: name(field),
            negated: *negated,
        },
        Filter::Match {
            field,
            how,
            value,
            negated,
        } => Filter::Match {
            field: name(field),
            how: *how,
            value: operand(value),
            negated: *negated,
        },
    }
}

/// Several conditions joined, or the only one by itself.
fn alone(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            parts.push(last);
            join(parts)
        }
        (None, _) => join(parts),
    }
}

/// Whether every record that one filter admits is provably admitted by another; false when that is not known. Both are
/// canonical.
fn implies(filter: &Filter, other: &Filter) -> bool {
    if filter == other {
        return true;
    }
    match (filter, other) {
        (Filter::Or(parts), _) => parts.iter().all(|part| implies(part, other)),
        (_, Filter::And(parts)) => parts.iter().all(|part| implies(filter, part)),
        (Filter::And(parts), _) if parts.iter().any(|part| implies(part, other)) => true,
        (_, Filter::Or(parts)) => parts.iter().any(|part| implies(filter, part)),
        (
            Filter::In {
                field,
                values,
                negated,
            },
            Filter::In {
                field: other_field,
                values: other_values,
                negated: other_negated,
            },
        ) => {
            let within = |these: &[Operand], those: &[Operand]| {
                these.iter().all(|value| those.contains(value))
            };
            field == other_field
                && negated == other_negated
                && if *negated {
                    within(other_values, values)
                } else {
                    within(values, other_values)
                }
        }
        (
            Filter::Compare {
                field,
                operator: Comparison::Equal,
                value,
            },
            Filter::In {
                field: other_field,
                values,
                negated: false,
            },
        ) => field == other_field && values.contains(value),
        (
            Filter::In {
                field,
                values,
                negated: false,
            },
            Filter::Compare {
                field: other_field,
                operator: Comparison::Equal,
                value,
            },
        ) => field == other_field && values.iter().all(|member| member == value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::filter::parse_role;
    use std::sync::Arc;

    fn grant(filter: &str) -> Grant {
        Grant {
            filter: (!filter.is_empty()).then(|| Arc::new(parse_role(filter).unwrap())),
            fields: None,
            position: Arc::from("r.toml:1"),
            named_segments: 0,
        }
    }

    fn lookups(values: &[(&str, &str)]) -> Lookups {
        Lookups::new(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn direction(before: &str, after: &str) -> Option<Direction> {
        let none = Lookups::default();
        let change = filter_change((&grant(before), &none), (&grant(after), &none));
        change.map(|change| change.direction)
    }

    #[test]
    fn a_filter_is_narrower_only_where_that_is_provable() {
        use Direction::{Either, Narrowed, Widened};
        for (before, after, expected) in [
            ("", "a = 1", Some(Narrowed)),
            ("a = 1", "", Some(Widened)),
            ("a = 1", "a=1", None),
            ("a = 1 AND b = 2", "(b = 2) and a = 1", None),
            ("a = 1", "a = 1 AND b = 2", Some(Narrowed)),
            (
                "a = 1 AND b = 2 AND c = 3",
                "a = 1 AND c = 3",
                Some(Widened),
            ),
            ("a = 1 OR b = 2", "b = 2", Some(Narrowed)),
            ("a = 1", "a = 1 OR b = 2", Some(Widened)),
            ("a = 1", "a = 2", Some(Either)),
            ("a > 10", "a > 20", Some(Either)),
            ("a IN (1, 2)", "a IN (2, 1)", None),
            ("a IN (1, 2)", "a IN (2, 3, 1)", Some(Widened)),
            ("a IN (1, 2, 3)", "a = 2", Some(Narrowed)),
            ("a NOT IN (1, 2)", "a NOT IN (1)", Some(Widened)),
            ("a = 1", "b = 1", Some(Either)),
            ("NOT (a = 1)", "NOT (a = 1 AND b = 2)", Some(Either)),
        ] {
            assert_eq!(direction(before, after), expected, "{before} → {after}");
        }
    }

    #[test]
    fn a_lookup_is_its_value_and_one_without_a_value_admits_nothing() {
        use Direction::{Either, Narrowed, Widened};
        let north = lookups(&[("lookup.region", "north")]);
        let south = lookups(&[("lookup.region", "south")]);
        let none = lookups(&[("lookup.region", "")]);
        let filter = grant("region = {lookup.region}");
        let change = |before: &Lookups, after: &Lookups| {
            filter_change((&filter, before), (&filter, after)).map(|change| {
                assert_eq!(change.lookups, ["lookup.region"]);
                change.direction
            })
        };
        assert_eq!(change(&north, &north), None);
        assert_eq!(change(&north, &south), Some(Either));
        assert_eq!(change(&north, &none), Some(Narrowed));
        assert_eq!(change(&none, &north), Some(Widened));
        assert_eq!(change(&none, &Lookups::default()), None);
        let literal = grant("region = 'north'");
        assert_eq!(filter_change((&filter, &north), (&literal, &south)), None);
        let user = grant("owner = {user.email}");
        assert_eq!(filter_change((&user, &north), (&user, &south)), None);
    }

    #[test]
    fn columns_are_compared_as_sets() {
        let with = |fields: &[&str]| Grant {
            fields: Some(Arc::new(fields.iter().map(|f| (*f).to_owned()).collect())),
            ..grant("")
        };
        let direction = |before: &Grant, after: &Grant| {
            fields_change(before, after).map(|change| change.direction)
        };
        assert_eq!(direction(&with(&["a", "b"]), &with(&["b", "a"])), None);
        assert_eq!(
            direction(&with(&["a"]), &with(&["b", "a"])),
            Some(Direction::Widened)
        );
        assert_eq!(
            direction(&with(&["a", "b"]), &with(&["b"])),
            Some(Direction::Narrowed)
        );
        assert_eq!(
            direction(&with(&["a"]), &with(&["b"])),
            Some(Direction::Either)
        );
        assert_eq!(
            direction(&grant(""), &with(&["b"])),
            Some(Direction::Narrowed)
        );
    }
}
