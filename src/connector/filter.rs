//! The filter language: text to syntax tree. Pure.
//!
//! It stands above the families because roles use it as well as callers. Names are not looked up here and
//! values are not typed: the planner does both against the table.

/// A condition on the columns of one table.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// One of them holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// `field op value`
    Compare {
        /// The column.
        field: Field,
        /// The operator.
        operator: Comparison,
        /// The right side.
        value: Operand,
    },
    /// `field [NOT] IN (…)`
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
    /// `field [NOT] LIKE pattern` and its relatives
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
    /// A number, with its digits as they were written.
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

/// Placeholder for the parser of another branch.
pub fn parse_role(text: &str) -> Result<Filter, FilterError> {
    match text.split_once(" = ") {
        Some((name, value)) => Ok(Filter::Compare {
            field: Field {
                name: name.to_owned(),
                position: 0,
            },
            operator: Comparison::Equal,
            value: match value
                .strip_prefix('{')
                .and_then(|value| value.strip_suffix('}'))
            {
                Some(name) => Operand::Lookup(name.to_owned()),
                None => Operand::Text(value.to_owned()),
            },
        }),
        None => Err(FilterError {
            message: "an operator must follow".to_owned(),
            help: None,
            position: text.chars().count(),
        }),
    }
}
