//! Stored procedures and functions, as drivers find them.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::{Column, Type};
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// What a routine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutineKind {
    /// Called for what it does; may give result sets and OUT parameters.
    Procedure,
    /// Called for what it returns.
    Function,
}

impl RoutineKind {
    /// Where such routines are found: `_proc` or `_func`.
    pub const fn family(self) -> &'static str {
        match self {
            Self::Procedure => "_proc",
            Self::Function => "_func",
        }
    }

    /// The word for one of them.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Procedure => "procedure",
            Self::Function => "function",
        }
    }
}

/// Which way a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the routine.
    In,
    /// From the routine.
    Out,
    /// Both.
    InOut,
}

impl Direction {
    /// As descriptions spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "IN",
            Self::Out => "OUT",
            Self::InOut => "INOUT",
        }
    }

    /// Whether callers send it.
    pub const fn is_input(self) -> bool {
        matches!(self, Self::In | Self::InOut)
    }

    /// Whether it is answered.
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Out | Self::InOut)
    }
}

/// A parameter of a routine.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Which way it goes.
    pub direction: Direction,
    /// Whether the database has a value of its own for it when none is given.
    pub has_default: bool,
    /// Whether it takes all further arguments as one array (PostgreSQL's VARIADIC).
    pub is_variadic: bool,
    /// Whether it names a cursor whose rows are a result of the call.
    pub is_cursor: bool,
    /// Its name, which may be empty, and what values it takes.
    pub column: Column,
}

/// What a function returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Returns {
    /// Nothing; procedures, and functions without a value.
    #[default]
    Nothing,
    /// One value.
    Value(Box<Column>),
    /// One row with these columns.
    Row(Vec<Column>),
    /// Any number of rows with these columns.
    Table(Vec<Column>),
    /// Cursors, whose rows are results of the call.
    Cursors,
    /// Rows whose columns are known to nobody before the call.
    Unknown,
}

/// A stored procedure or function. Those that share a name are overloads of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Routine {
    /// What callers write: `close_month`, or `sales.close_month` outside the default schema.
    pub name: String,
    /// The schema it lives in, if the product has schemas.
    pub schema: Option<String>,
    /// Its name within the schema.
    pub native: String,
    /// What it is.
    pub kind: RoutineKind,
    /// Its parameters, in their own order.
    pub parameters: Vec<Parameter>,
    /// What it returns.
    pub returns: Returns,
    /// Whether the database declares that it changes nothing.
    pub is_read_only: bool,
    /// The comment in the database.
    pub description: Option<String>,
}

impl Routine {
    /// The parameters that callers send.
    pub fn inputs(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.direction.is_input())
    }

    /// Whether a call gives results of its own, one after another, and not just what a query of a function gives.
    pub fn gives_results(&self) -> bool {
        self.kind == RoutineKind::Procedure || self.returns == Returns::Cursors
    }

    /// The parameters that are answered, other than cursors.
    pub fn outputs(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.direction.is_output() && !parameter.is_cursor)
    }

    /// For messages: `close_month(p_year integer, p_done OUT integer)`.
    pub fn signature(&self) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|parameter| {
                let mut words = Vec::new();
                if !parameter.column.name.is_empty() {
                    words.push(parameter.column.name.as_str());
                }
                if parameter.direction != Direction::In {
                    words.push(parameter.direction.name());
                }
                words.push(&parameter.column.db_type);
                words.join(" ")
            })
            .collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

impl Column {
    /// A column that is known by its name and the kind of its values alone, and may be NULL.
    pub fn plain(name: &str, kind: Type, db_type: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            db_type: db_type.to_owned(),
            native: 0,
            is_nullable: true,
            default: None,
            is_auto_increment: false,
            is_generated: false,
            length: None,
            precision: None,
            scale: None,
            picklist: Vec::new(),
            description: None,
            settings: None,
        }
    }
}

/// Overloads of one name; never empty.
pub type Overloads = Vec<Arc<Routine>>;

/// The routines of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
struct Family {
    by_name: IndexMap<String, Overloads>,
    /// Lower-cased names that stand for exactly one name.
    folded: HashMap<String, usize>,
}

/// The stored procedures and functions of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routines {
    procedures: Family,
    functions: Family,
}

impl Routines {
    /// Takes what a driver found, in the order of the lists.
    pub fn new(routines: Vec<Routine>) -> Self {
        let mut found = Self::default();
        for routine in routines {
            let family = match routine.kind {
                RoutineKind::Procedure => &mut found.procedures,
                RoutineKind::Function => &mut found.functions,
            };
            family
                .by_name
                .entry(routine.name.clone())
                .or_default()
                .push(Arc::new(routine));
        }
        for family in [&mut found.procedures, &mut found.functions] {
            let mut seen: HashMap<String, Option<usize>> = HashMap::new();
            for (index, name) in family.by_name.keys().enumerate() {
                seen.entry(name.to_ascii_lowercase())
                    .and_modify(|entry| *entry = None)
                    .or_insert(Some(index));
            }
            family.folded = seen
                .into_iter()
                .filter_map(|(name, index)| Some((name, index?)))
                .collect();
        }
        found
    }

    const fn family(&self, kind: RoutineKind) -> &Family {
        match kind {
            RoutineKind::Procedure => &self.procedures,
            RoutineKind::Function => &self.functions,
        }
    }

    /// All of one kind, by name, each with its overloads.
    pub fn of(&self, kind: RoutineKind) -> impl Iterator<Item = (&str, &Overloads)> {
        self.family(kind)
            .by_name
            .iter()
            .map(|(name, overloads)| (name.as_str(), overloads))
    }

    /// The routines of a name as callers write it: exact first, then without regard to ASCII case if that is
    /// unambiguous. 404 otherwise, with the nearest name that `admits` lets through.
    pub fn find(
        &self,
        kind: RoutineKind,
        name: &str,
        admits: impl Fn(&str) -> bool,
    ) -> Result<(&str, &Overloads)> {
        let family = self.family(kind);
        let found = family.by_name.get_key_value(name).or_else(|| {
            let index = family.folded.get(&name.to_ascii_lowercase())?;
            family.by_name.get_index(*index)
        });
        if let Some((name, overloads)) = found {
            return Ok((name, overloads));
        }
        let error = Error::new(
            ErrorKind::UnknownResource,
            format!(
                "{} '{}' does not exist in the database",
                kind.noun(),
                brief(name)
            ),
        );
        let names = family.by_name.keys().map(String::as_str);
        Err(match nearest(name, names.filter(|name| admits(name))) {
            Some(near) => error.with_help(format!("did you mean '{near}'?")),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routine(name: &str, kind: RoutineKind) -> Routine {
        Routine {
            name: name.to_owned(),
            schema: None,
            native: name.to_owned(),
            kind,
            parameters: Vec::new(),
            returns: Returns::Nothing,
            is_read_only: false,
            description: None,
        }
    }

    #[test]
    fn routines_are_found_by_kind_and_without_regard_to_case() {
        let routines = Routines::new(vec![
            routine("close_month", RoutineKind::Procedure),
            routine("total", RoutineKind::Function),
            routine("Twice", RoutineKind::Function),
            routine("twice", RoutineKind::Function),
            routine("total", RoutineKind::Function),
        ]);
        let find = |kind, name| routines.find(kind, name, |_| true);
        let (name, overloads) = find(RoutineKind::Function, "TOTAL").unwrap();
        assert_eq!((name, overloads.len()), ("total", 2));
        assert_eq!(find(RoutineKind::Function, "Twice").unwrap().0, "Twice");
        assert!(find(RoutineKind::Function, "TWICE").is_err());
        let error = find(RoutineKind::Procedure, "total").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownResource);
        let error = find(RoutineKind::Procedure, "close_moth").unwrap_err();
        assert_eq!(error.help(), Some("did you mean 'close_month'?"));
        let hidden = routines.find(RoutineKind::Procedure, "close_moth", |_| false);
        assert_eq!(hidden.unwrap_err().help(), None);
    }

    #[test]
    fn a_signature_names_types_and_directions() {
        let parameter = |name: &str, direction| Parameter {
            direction,
            has_default: false,
            is_variadic: false,
            is_cursor: false,
            column: Column::plain(name, Type::Integer, "integer"),
        };
        let routine = Routine {
            parameters: vec![
                parameter("p_year", Direction::In),
                parameter("", Direction::In),
                parameter("p_done", Direction::Out),
            ],
            ..routine("close_month", RoutineKind::Procedure)
        };
        assert_eq!(
            routine.signature(),
            "close_month(p_year integer, integer, p_done OUT integer)"
        );
    }
}
