//! Arguments + overloads → the routine that is meant, and a value for each of its parameters. Pure.

use std::sync::Arc;

use super::request::{Argument, Arguments, unknown_option};
use crate::connector::access::Lookups;
use crate::connector::database::catalog::{Column, Parameter, Routine};
use crate::connector::database::convert;
use crate::connector::database::plan::RoutineCall;
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result, brief};

/// Which argument goes to which parameter: positions in the list of arguments, by parameter.
type Places = Vec<Option<usize>>;

/// Chooses the overload whose parameters have the names, or the number, of the arguments: the one that leaves the
/// fewest parameters without a value. Two that are equally good are an error, which lists them.
///
/// Errors: 400 for an argument that no parameter takes (with the nearest name), for one that is given twice, for too
/// many, for a value that does not fit, and for a call that fits several overloads.
pub(super) fn choose(
    overloads: &[Arc<Routine>],
    arguments: &Arguments,
    lookups: &Lookups,
) -> Result<RoutineCall> {
    let mut fitting: Vec<((usize, usize), &Arc<Routine>, Places)> = Vec::new();
    let mut refusal = None;
    for routine in overloads {
        match places(routine, arguments) {
            Ok(places) => fitting.push((wanting(routine, &places), routine, places)),
            Err(error) => refusal = Some(error),
        }
    }
    let Some(best) = fitting.iter().map(|(wanting, ..)| *wanting).min() else {
        return Err(match refusal {
            Some(error) if overloads.len() == 1 => error,
            Some(error) => Error::new(
                error.kind(),
                "no overload of the routine takes these parameters",
            )
            .with_help(signatures(overloads)),
            None => Error::internal("a routine without overloads"),
        });
    };
    fitting.retain(|(wanting, ..)| *wanting == best);
    let mut fitting = fitting.into_iter();
    let (Some((_, routine, places)), None) = (fitting.next(), fitting.next()) else {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            "the call fits several overloads of the routine",
        )
        .with_help(signatures(overloads)));
    };
    let values = routine
        .parameters
        .iter()
        .zip(&places)
        .map(|(parameter, place)| {
            let argument = place.and_then(|index| argument(arguments, index));
            value_of(parameter, argument, lookups)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RoutineCall {
        routine: Arc::clone(routine),
        arguments: values,
    })
}

fn signatures(overloads: &[Arc<Routine>]) -> String {
    let list: Vec<String> = overloads
        .iter()
        .map(|routine| routine.signature())
        .collect();
    format!("there are {}", list.join(" and "))
}

/// How many parameters would be NULL for want of a value, and how many would have their default.
fn wanting(routine: &Routine, places: &Places) -> (usize, usize) {
    let without = routine
        .parameters
        .iter()
        .zip(places)
        .filter(|(parameter, place)| parameter.direction.is_input() && place.is_none());
    let (defaults, nulls): (Vec<_>, Vec<_>) =
        without.partition(|(parameter, _)| parameter.has_default);
    (nulls.len(), defaults.len())
}

fn argument(arguments: &Arguments, index: usize) -> Option<&Argument> {
    match arguments {
        Arguments::None => None,
        Arguments::Positional(list) => list.get(index),
        Arguments::Named(list) => list.get(index).map(|(_, argument)| argument),
    }
}

fn places(routine: &Routine, arguments: &Arguments) -> Result<Places> {
    let mut places: Places = vec![None; routine.parameters.len()];
    match arguments {
        Arguments::None => {}
        Arguments::Positional(list) => {
            // Whoever counts OUT parameters as well gives one argument for each parameter.
            let counts_all = list.len() == routine.parameters.len();
            let taking = routine
                .parameters
                .iter()
                .zip(&mut places)
                .filter(|(parameter, _)| counts_all || parameter.direction.is_input());
            let mut taken = 0;
            for ((_, place), index) in taking.zip(0..list.len()) {
                *place = Some(index);
                taken += 1;
            }
            if taken < list.len() {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    format!(
                        "{} '{}' takes {taken} parameters, not {}",
                        routine.kind.noun(),
                        routine.name,
                        list.len()
                    ),
                )
                .with_help(format!("call {}", routine.signature())));
            }
        }
        Arguments::Named(list) => {
            for (index, (name, _)) in list.iter().enumerate() {
                let position = position(routine, name).ok_or_else(|| {
                    unknown_option(
                        name,
                        routine
                            .inputs()
                            .map(|parameter| parameter.column.name.as_str()),
                    )
                })?;
                match places.get_mut(position) {
                    Some(place @ None) => *place = Some(index),
                    _ => {
                        return Err(Error::new(
                            ErrorKind::InvalidParameter,
                            format!("parameter '{}' is given twice", brief(name)),
                        ));
                    }
                }
            }
        }
    }
    Ok(places)
}

/// The parameter of a name: the exact one before one that differs in ASCII case. `@` in front, as SQL Server has it,
/// may be left out.
fn position(routine: &Routine, name: &str) -> Option<usize> {
    let names = || {
        routine
            .parameters
            .iter()
            .map(|parameter| parameter.column.name.as_str())
    };
    let bare = |name: &str| name.strip_prefix('@').unwrap_or(name).to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    names()
        .position(|known| known == name)
        .or_else(|| names().position(|known| bare(known) == bare(name)))
}

/// What is sent for a parameter. Without an argument that is its default, else NULL.
fn value_of(
    parameter: &Parameter,
    argument: Option<&Argument>,
    lookups: &Lookups,
) -> Result<Option<Scalar>> {
    if !parameter.direction.is_input() {
        return Ok(None);
    }
    let column = &parameter.column;
    let value = match argument {
        None | Some(Argument::Absent) if parameter.has_default => return Ok(None),
        None | Some(Argument::Absent) if parameter.is_variadic => Ok(Scalar::Array(Vec::new())),
        None | Some(Argument::Absent | Argument::Null) => Ok(Scalar::Null),
        Some(Argument::Json(value)) => match value.get() {
            "null" => Ok(Scalar::Null),
            json => match looked_up(json, "\"{", "}\"", lookups) {
                Some(text) => convert::from_text(column, text),
                None => convert::from_json(column, value),
            },
        },
        Some(Argument::Text(text)) => {
            let text = looked_up(text, "{", "}", lookups).unwrap_or(text);
            convert::from_text(column, text)
        }
    };
    value.map(Some).map_err(|error| about(&error, column))
}

/// The value of a lookup, if the text is nothing but the name of one in braces.
fn looked_up<'a>(text: &str, open: &str, close: &str, lookups: &'a Lookups) -> Option<&'a str> {
    let name = text.strip_prefix(open)?.strip_suffix(close)?;
    lookups.get(name)
}

/// The refusal of a value, in the words of a call.
fn about(error: &Error, column: &Column) -> Error {
    let message = match error.message().strip_prefix("field ") {
        Some(rest) if !column.name.is_empty() => format!("parameter {rest}"),
        _ => error.message().to_owned(),
    };
    let said = Error::new(error.kind(), message);
    match error.help() {
        Some(help) => said.with_help(help.to_owned()),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::catalog::{Direction, Returns, RoutineKind, Type};
    use serde_json::value::RawValue;

    fn parameter(name: &str, kind: Type, direction: Direction, has_default: bool) -> Parameter {
        let db_type = format!("{kind:?}").to_lowercase();
        Parameter {
            direction,
            has_default,
            is_variadic: false,
            is_cursor: false,
            column: Column::plain(name, kind, &db_type),
        }
    }

    fn routine(parameters: Vec<Parameter>) -> Arc<Routine> {
        Arc::new(Routine {
            name: "f".to_owned(),
            schema: None,
            native: "f".to_owned(),
            kind: RoutineKind::Procedure,
            parameters,
            returns: Returns::Nothing,
            is_read_only: false,
            description: None,
        })
    }

    fn close_month() -> Arc<Routine> {
        routine(vec![
            parameter("p_year", Type::Integer, Direction::In, false),
            parameter("p_done", Type::Integer, Direction::Out, false),
            parameter("p_note", Type::Text, Direction::InOut, true),
        ])
    }

    fn json(text: &str) -> Argument {
        Argument::Json(RawValue::from_string(text.to_owned()).unwrap())
    }

    fn named(list: &[(&str, Argument)]) -> Arguments {
        Arguments::Named(
            list.iter()
                .map(|(name, argument)| ((*name).to_owned(), argument.clone()))
                .collect(),
        )
    }

    fn chosen(overloads: &[Arc<Routine>], arguments: &Arguments) -> Result<Vec<Option<Scalar>>> {
        let lookups = Lookups::new([("user.id".to_owned(), "7".to_owned())]);
        choose(overloads, arguments, &lookups).map(|call| call.arguments)
    }

    #[test]
    fn arguments_find_their_parameters_by_name_and_by_position() {
        let overloads = [close_month()];
        let year = || Some(Scalar::Int(2026));
        let note = || Some(Scalar::Text("x".to_owned()));
        for (arguments, expected) in [
            (Arguments::None, vec![Some(Scalar::Null), None, None]),
            (named(&[("P_YEAR", json("2026"))]), vec![year(), None, None]),
            (
                named(&[
                    ("@p_year", json("\"2026\"")),
                    ("p_done", json("5")),
                    ("p_note", json("\"x\"")),
                ]),
                vec![year(), None, note()],
            ),
            (
                Arguments::Positional(vec![json("2026"), json("\"x\"")]),
                vec![year(), None, note()],
            ),
            (
                Arguments::Positional(vec![json("2026"), json("null"), json("\"x\"")]),
                vec![year(), None, note()],
            ),
            (
                Arguments::Positional(vec![Argument::Text("{user.id}".to_owned()), Argument::Null]),
                vec![Some(Scalar::Int(7)), None, Some(Scalar::Null)],
            ),
            (
                named(&[
                    ("p_year", json("\"{user.id}\"")),
                    ("p_note", json("\"{user.ide}\"")),
                ]),
                vec![
                    Some(Scalar::Int(7)),
                    None,
                    Some(Scalar::Text("{user.ide}".to_owned())),
                ],
            ),
            (
                Arguments::Positional(vec![Argument::Absent, Argument::Absent]),
                vec![Some(Scalar::Null), None, None],
            ),
        ] {
            assert_eq!(
                chosen(&overloads, &arguments).unwrap(),
                expected,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_hint() {
        let overloads = [close_month()];
        let refused = |arguments: Arguments| {
            let error = chosen(&overloads, &arguments).unwrap_err();
            (error.message().to_owned(), error.help().map(str::to_owned))
        };
        assert_eq!(
            refused(named(&[("p_yaer", json("1"))])),
            (
                "unknown parameter 'p_yaer'".to_owned(),
                Some("did you mean 'p_year'?".to_owned())
            )
        );
        assert_eq!(
            refused(Arguments::Positional(vec![
                json("1"),
                json("2"),
                json("3"),
                json("4")
            ]))
            .0,
            "procedure 'f' takes 2 parameters, not 4"
        );
        assert_eq!(
            refused(named(&[("p_year", json("1")), ("P_Year", json("2"))])).0,
            "parameter 'P_Year' is given twice"
        );
        assert_eq!(
            refused(named(&[("p_year", json("\"soon\""))])).0,
            "parameter 'p_year' must be a valid integer"
        );
    }

    #[test]
    fn overloads_are_told_apart_by_names_and_number() {
        let one = routine(vec![parameter("a", Type::Integer, Direction::In, false)]);
        let two = routine(vec![
            parameter("a", Type::Integer, Direction::In, false),
            parameter("b", Type::Integer, Direction::In, true),
        ]);
        let other = routine(vec![parameter("a", Type::Text, Direction::In, false)]);
        let overloads = [Arc::clone(&one), Arc::clone(&two)];
        let lookups = Lookups::default();
        let pick = |arguments: &Arguments| choose(&overloads, arguments, &lookups).unwrap().routine;
        assert!(Arc::ptr_eq(
            &pick(&Arguments::Positional(vec![json("1")])),
            &one
        ));
        assert!(Arc::ptr_eq(
            &pick(&Arguments::Positional(vec![json("1"), json("2")])),
            &two
        ));
        assert!(Arc::ptr_eq(&pick(&named(&[("b", json("2"))])), &two));
        let error = chosen(&[one, other], &named(&[("a", json("1"))])).unwrap_err();
        assert_eq!(error.help(), Some("there are f(a integer) and f(a text)"));
        let error = chosen(&overloads, &named(&[("c", json("1"))])).unwrap_err();
        assert_eq!(
            error.message(),
            "no overload of the routine takes these parameters"
        );
    }
}
