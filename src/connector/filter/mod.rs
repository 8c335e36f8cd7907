//! The filter language: text to syntax tree. Pure.
//!
//! It stands above the families because roles use it as well as callers. Names are not looked up here and
//! values are not typed: the planner does both against the table.
//!
//! ```text
//! filter     := conjunction { (OR | "||") conjunction }
//! conjunction:= negation { (AND | "&&") negation }
//! negation   := { NOT } ( "(" filter ")" | condition )
//! condition  := EXISTS relation [ "(" [ filter ] ")" ]
//!             | field comparison value
//!             | field [NOT] IN "(" value { "," value } ")"
//!             | field [NOT] BETWEEN value AND value
//!             | field [NOT] (LIKE | ILIKE | CONTAINS | STARTS WITH | ENDS WITH) value
//!             | field IS [NOT] NULL
//! comparison := = | != | <> | > | >= | < | <= | EQ | NE | GT | GTE | LT | LTE
//! relation   := field
//! field      := name | "name" | `name` | [name]
//! value      := 'text' | "text" | number | true | false | null | words | :parameter | {lookup} | (NOW())
//! ```
//!
//! Words are operators in any letter case. A quote inside quotes is written twice. Unquoted text goes up to the
//! next delimiter, `AND` or `OR`; a word that is an operator must be quoted to be text, so that a forgotten
//! `AND` is an error and not a longer text. `EXISTS` is one only before a relation.

mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, brief};

pub use parser::{parse, parse_having, parse_role};

/// Most bytes a filter may have.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Most parentheses and `NOT` around one condition.
pub const MAX_DEPTH: usize = 64;

/// Most values in one `IN` list.
pub const MAX_LIST_VALUES: usize = 10_000;

/// Most parameters sent with a filter.
pub const MAX_PARAMETERS: usize = 1_000;

/// Words that a name on the left side must be quoted to be.
const RESERVED_NAMES: &[&str] = &["NOT", "AND", "OR", "TRUE", "FALSE", "NULL"];

/// A condition on the columns of one table.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold; the parser gives at least two.
    And(Vec<Filter>),
    /// One of them holds; the parser gives at least two.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// `EXISTS relation(filter)`: a related record satisfies the filter, whose names are those of the related table.
    /// Never in the filter of a role.
    Exists {
        /// The relation.
        relation: Field,
        /// What one of the related records must satisfy; without it, that there is one.
        filter: Option<Box<Filter>>,
    },
    /// `field op value`; the value is never [`Operand::Null`]: `x = null` becomes [`Filter::IsNull`].
    Compare {
        /// The column.
        field: Field,
        /// The operator.
        operator: Comparison,
        /// The right side.
        value: Operand,
    },
    /// `field [NOT] IN (…)`; [`Operand::Null`] is never in the list.
    In {
        /// The column.
        field: Field,
        /// The list; never empty.
        values: Vec<Operand>,
        /// `NOT IN`
        negated: bool,
    },
    /// `field [NOT] BETWEEN low AND high`, both ends included.
    Between {
        /// The column.
        field: Field,
        /// The lower end.
        low: Operand,
        /// The upper end.
        high: Operand,
        /// `NOT BETWEEN`
        negated: bool,
    },
    /// `field IS [NOT] NULL`
    IsNull {
        /// The column.
        field: Field,
        /// `IS NOT NULL`
        negated: bool,
    },
    /// `field [NOT] LIKE pattern` and its relatives; the value is always [`Operand::Text`] or
    /// [`Operand::Lookup`], and a number was taken as the text of its digits.
    Match {
        /// The column.
        field: Field,
        /// How the text is compared.
        how: Matching,
        /// The pattern or the text.
        value: Operand,
        /// With `NOT`
        negated: bool,
    },
}

/// A name on the left side of an operator, as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name without quotes.
    pub name: String,
    /// Characters before it in the filter text.
    pub position: usize,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// How a text is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// `LIKE`: `%` and `_` are wildcards; letter case as the database has it.
    Like,
    /// `ILIKE`: the same without regard to letter case.
    ILike,
    /// `CONTAINS`: nothing is a wildcard.
    Contains,
    /// `STARTS WITH`
    StartsWith,
    /// `ENDS WITH`
    EndsWith,
}

/// A value on the right side of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// A number, with its digits as they were written: an optional `-`, digits, then perhaps a fraction and an
    /// exponent, as in JSON but for leading zeros. `+5`, `.5` and `5.` are [`Operand::Text`].
    Number(String),
    /// Text, quoted or a bare word.
    Text(String),
    /// `{user.email}`: a value of the caller, bound when the plan is made; unknown means that nothing matches.
    Lookup(String),
    /// `(NOW())` and its like, from a closed list: the time at which the statement runs.
    Now(Now),
}

/// The functions that may stand for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// `NOW()`, `CURRENT_TIMESTAMP`, `GETDATE()`, `SYSDATE`, …
    Timestamp,
    /// `CURDATE()`, `CURRENT_DATE`
    Date,
    /// `CURTIME()`, `CURRENT_TIME`
    Time,
}

/// The functions that may stand for a value, in filters and in records, and what they stand for.
pub const TIME_FUNCTIONS: &[(&str, Now)] = &[
    ("NOW", Now::Timestamp),
    ("CURRENT_TIMESTAMP", Now::Timestamp),
    ("GETDATE", Now::Timestamp),
    ("GETUTCDATE", Now::Timestamp),
    ("SYSDATE", Now::Timestamp),
    ("SYSDATETIME", Now::Timestamp),
    ("CURDATE", Now::Date),
    ("CURRENT_DATE", Now::Date),
    ("CURTIME", Now::Time),
    ("CURRENT_TIME", Now::Time),
];

impl Filter {
    /// All fields, in the order in which they were written; one that occurs twice comes twice. Those of related tables
    /// are not among them.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.conditions().filter_map(|condition| match condition {
            Self::Compare { field, .. }
            | Self::In { field, .. }
            | Self::Between { field, .. }
            | Self::IsNull { field, .. }
            | Self::Match { field, .. } => Some(field),
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::Exists { .. } => None,
        })
    }

    /// The names of all lookups, in the order in which they were written.
    pub fn lookups(&self) -> impl Iterator<Item = &str> {
        self.operands().filter_map(|operand| match operand {
            Operand::Lookup(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// All values, those for related tables included.
    fn operands(&self) -> Box<dyn Iterator<Item = &Operand> + '_> {
        Box::new(self.conditions().flat_map(
            |condition| -> Box<dyn Iterator<Item = &Operand> + '_> {
                match condition {
                    Self::Exists { filter, .. } => {
                        Box::new(filter.iter().flat_map(|filter| filter.operands()))
                    }
                    Self::Compare { value, .. } | Self::Match { value, .. } => {
                        Box::new(std::iter::once(value))
                    }
                    Self::In { values, .. } => Box::new(values.iter()),
                    Self::Between { low, high, .. } => Box::new([low, high].into_iter()),
                    Self::And(_) | Self::Or(_) | Self::Not(_) | Self::IsNull { .. } => {
                        Box::new(std::iter::empty())
                    }
                }
            },
        ))
    }

    /// The conditions at the leaves, from left to right.
    fn conditions(&self) -> impl Iterator<Item = &Filter> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            loop {
                match waiting.pop()? {
                    Self::And(parts) | Self::Or(parts) => waiting.extend(parts.iter().rev()),
                    Self::Not(inner) => waiting.push(inner),
                    leaf => return Some(leaf),
                }
            }
        })
    }

    /// How tightly the outermost operator binds.
    fn precedence(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            _ => 2,
        }
    }
}

/// Writes filter text that parses to the same tree.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |formatter: &mut fmt::Formatter<'_>, inner: &Filter, above: u8| {
            if inner.precedence() <= above {
                write!(formatter, "({inner})")
            } else {
                write!(formatter, "{inner}")
            }
        };
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::And(parts) | Self::Or(parts) => {
                let separator = if matches!(self, Self::And(_)) {
                    " AND "
                } else {
                    " OR "
                };
                for (index, inner) in parts.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str(separator)?;
                    }
                    part(formatter, inner, self.precedence())?;
                }
                Ok(())
            }
            Self::Not(inner) => {
                formatter.write_str("NOT ")?;
                part(formatter, inner, 1)
            }
            Self::Exists { relation, filter } => {
                // In quotes, because an operator would not be taken for a relation.
                write!(
                    formatter,
                    "EXISTS \"{}\"(",
                    relation.name.replace('"', "\"\"")
                )?;
                if let Some(filter) = filter {
                    write!(formatter, "{filter}")?;
                }
                formatter.write_str(")")
            }
            Self::Compare {
                field,
                operator,
                value,
            } => write!(formatter, "{field} {} {value}", operator.symbol()),
            Self::In {
                field,
                values,
                negated,
            } => {
                write!(formatter, "{field} {}IN (", not(negated))?;
                for (index, value) in values.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(formatter, "{separator}{value}")?;
                }
                formatter.write_str(")")
            }
            Self::Between {
                field,
                low,
                high,
                negated,
            } => write!(
                formatter,
                "{field} {}BETWEEN {low} AND {high}",
                not(negated)
            ),
            Self::IsNull { field, negated } => {
                write!(formatter, "{field} IS {}NULL", not(negated))
            }
            Self::Match {
                field,
                how,
                value,
                negated,
            } => write!(
                formatter,
                "{field} {}{} {value}",
                not(negated),
                how.keyword()
            ),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_bare_name(&self.name) {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "\"{}\"", self.name.replace('"', "\"\""))
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Number(digits) => formatter.write_str(digits),
            Self::Text(text) => write!(formatter, "'{}'", text.replace('\'', "''")),
            Self::Lookup(name) => write!(formatter, "{{{name}}}"),
            Self::Now(now) => formatter.write_str(match now {
                Now::Timestamp => "(NOW())",
                Now::Date => "(CURRENT_DATE)",
                Now::Time => "(CURRENT_TIME)",
            }),
        }
    }
}

impl Comparison {
    /// The operator as it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Matching {
    /// The operator as it is written.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Like => "LIKE",
            Self::ILike => "ILIKE",
            Self::Contains => "CONTAINS",
            Self::StartsWith => "STARTS WITH",
            Self::EndsWith => "ENDS WITH",
        }
    }
}

/// Whether a name can stand on the left side without quotes.
fn is_bare_name(name: &str) -> bool {
    !name.is_empty()
        && !is_number(name)
        && !RESERVED_NAMES
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '.'))
}

/// Whether a text has the form that [`Operand::Number`] promises.
fn is_number(text: &str) -> bool {
    fn after_digits(text: &str) -> Option<&str> {
        let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
        (rest.len() < text.len()).then_some(rest)
    }
    let Some(mut rest) = after_digits(text.strip_prefix('-').unwrap_or(text)) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix('.') {
        match after_digits(fraction) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        match after_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// The values that stand for `:name` in a filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(IndexMap<String, Operand>);

impl Parameters {
    /// Reads the option `params`: a JSON object of names, with or without the colon, and values. Numbers keep
    /// their digits.
    ///
    /// Errors: not an object, an array or an object as a value, a name that is not one, one name twice, a NUL,
    /// more than [`MAX_PARAMETERS`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let invalid = |message: String| {
            Error::new(ErrorKind::InvalidParameter, message).with_help(
                "write `params` as an object of plain values: {\":since\": \"2026-01-01\"}",
            )
        };
        let members: Members = serde_json::from_str(text).map_err(|error| {
            invalid("the option `params` is not a JSON object".to_owned()).with_source(error)
        })?;
        if members.0.len() > MAX_PARAMETERS {
            return Err(invalid(format!(
                "the option `params` has more than {MAX_PARAMETERS} members"
            )));
        }
        let mut parameters = Self::default();
        for (member, value) in members.0 {
            let name = member.strip_prefix(':').unwrap_or(&member);
            if !lexer::is_reference_name(name) {
                return Err(invalid(format!(
                    "`{}` is not the name of a parameter",
                    brief(&member)
                )));
            }
            let operand = operand_of_json(value.get()).ok_or_else(|| {
                invalid(format!(
                    "the parameter `:{}` is not a plain value",
                    brief(name)
                ))
            })?;
            if parameters.0.insert(name.to_owned(), operand).is_some() {
                return Err(invalid(format!(
                    "the parameter `:{}` is given twice",
                    brief(name)
                )));
            }
        }
        Ok(parameters)
    }

    /// The value of a parameter; the name comes without its colon.
    pub fn get(&self, name: &str) -> Option<&Operand> {
        self.0.get(name)
    }

    /// The names, without colons.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The members of a JSON object, doubles included.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> serde::de::Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A plain JSON value; none for arrays, objects and texts that hold a NUL.
fn operand_of_json(text: &str) -> Option<Operand> {
    match text {
        "null" => Some(Operand::Null),
        "true" => Some(Operand::Boolean(true)),
        "false" => Some(Operand::Boolean(false)),
        number if is_number(number) => Some(Operand::Number(number.to_owned())),
        other => serde_json::from_str::<String>(other)
            .ok()
            .filter(|text| !text.contains('\0'))
            .map(Operand::Text),
    }
}

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Characters before the place.
    pub position: usize,
}

impl FilterError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            position,
        }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The message with its place; the first character has number 1.
impl fmt::Display for FilterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "invalid filter at character {}: {}",
            self.position.saturating_add(1),
            self.message
        )
    }
}

impl std::error::Error for FilterError {}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        let refused = Self::new(ErrorKind::InvalidFilter, error.to_string());
        match error.help {
            Some(help) => refused.with_help(help),
            None => refused,
        }
    }
}
