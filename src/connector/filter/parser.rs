//! Filter tokens to a syntax tree. Pure.

use super::lexer::{Kind, Lexer, Token};
use super::{
    Comparison, Field, Filter, FilterError, MAX_DEPTH, MAX_LIST_VALUES, MAX_TEXT_BYTES, Matching,
    Now, Operand, Parameters, TIME_FUNCTIONS, is_bare_name, is_number,
};
use crate::error::{brief, nearest};

/// Parses the filter of a caller; `:name` is replaced by its value.
///
/// Errors: whatever does not follow the grammar, an unknown parameter, more than [`MAX_TEXT_BYTES`],
/// [`MAX_DEPTH`] or [`MAX_LIST_VALUES`].
pub fn parse(text: &str, parameters: &Parameters) -> Result<Filter, FilterError> {
    Parser::new(text, Source::Caller(parameters))?.whole()
}

/// Parses the filter of a role: no parameters, and no lookup hidden in a text, where it would stay literal.
pub fn parse_role(text: &str) -> Result<Filter, FilterError> {
    Parser::new(text, Source::Role)?.whole()
}

/// Parses a condition on groups. The grammar is the same; on the left side `COUNT(*)` and `SUM(total)` may be
/// written for `COUNT_ALL` and `SUM_total`.
pub fn parse_having(text: &str, parameters: &Parameters) -> Result<Filter, FilterError> {
    Parser::new(text, Source::Having(parameters))?.whole()
}

/// Whose text it is.
#[derive(Clone, Copy)]
enum Source<'a> {
    Caller(&'a Parameters),
    Having(&'a Parameters),
    Role,
}

/// Words that other languages have as operators and this one has not.
const FOREIGN_OPERATORS: &[(&str, &str)] = &[
    ("NOR", "write `NOT (a OR b)`"),
    ("XOR", "write `(a AND NOT b) OR (NOT a AND b)`"),
    ("RLIKE", "use LIKE, CONTAINS, STARTS WITH or ENDS WITH"),
    ("REGEXP", "use LIKE, CONTAINS, STARTS WITH or ENDS WITH"),
    ("SIMILAR", "use LIKE, CONTAINS, STARTS WITH or ENDS WITH"),
    (
        "EXISTS",
        "name a relation and what one of its records must satisfy: EXISTS invoice_by_customer_id(total > 5)",
    ),
    ("DOES", "use IS NULL or IS NOT NULL"),
    ("ALL", "use IN or ="),
    ("ANY", "use IN"),
];

/// Words that are operators after a field, and so end unquoted text.
const OPERATORS: &[&str] = &[
    "EQ", "NE", "GT", "GTE", "LT", "LTE", "IN", "BETWEEN", "LIKE", "ILIKE", "CONTAINS", "IS", "NOT",
];

const OPERATOR_HELP: &str = "operators are =, !=, <>, >, >=, <, <=, EQ, NE, GT, GTE, LT, LTE, \
     [NOT] IN, [NOT] BETWEEN, [NOT] LIKE, [NOT] ILIKE, [NOT] CONTAINS, [NOT] STARTS WITH, \
     [NOT] ENDS WITH, IS [NOT] NULL";

/// The functions that make a value of a group.
const AGGREGATES: &[&str] = &["COUNT", "SUM", "AVG", "MIN", "MAX"];

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token<'a>,
    source: Source<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, source: Source<'a>) -> Result<Self, FilterError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(FilterError::new(
                0,
                format!("the filter is longer than {MAX_TEXT_BYTES} bytes"),
            )
            .with_help("use `ids` to name many records"));
        }
        if let Some((before, _)) = text.split_once('\0') {
            return Err(FilterError::new(
                before.chars().count(),
                "the filter contains a NUL character",
            ));
        }
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self {
            text,
            lexer,
            token,
            source,
            depth: 0,
        })
    }

    /// Gives the current token and reads the next.
    fn advance(&mut self) -> Result<Token<'a>, FilterError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// The token after the current one.
    fn ahead(&self) -> Result<Token<'a>, FilterError> {
        self.lexer.clone().next()
    }

    /// Whether the current token is this word, in any letter case.
    fn is_word(&self, keyword: &str) -> bool {
        is_word(&self.token, keyword)
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(self.token.position, message)
    }

    /// "unexpected …" for the current token.
    fn unexpected(&self, wanted: &str) -> FilterError {
        match self.token.kind {
            Kind::End => self.error(format!("the filter ends where {wanted} should stand")),
            _ => self.error(format!(
                "unexpected `{}` where {wanted} should stand",
                brief(self.written(&self.token))
            )),
        }
    }

    /// A token as it was written.
    fn written(&self, token: &Token<'_>) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn deeper(&mut self) -> Result<(), FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!(
                "the filter is nested more than {MAX_DEPTH} levels deep"
            )));
        }
        Ok(())
    }

    fn whole(mut self) -> Result<Filter, FilterError> {
        if self.token.kind == Kind::End {
            return Err(self.error("the filter is empty"));
        }
        let filter = self.disjunction()?;
        match self.token.kind {
            Kind::End => Ok(filter),
            Kind::Close => Err(self
                .error("this `)` closes nothing")
                .with_help("every `)` needs a `(` before it")),
            _ => Err(self.after_condition()),
        }
    }

    /// The error for something that follows a complete condition and is neither AND nor OR.
    fn after_condition(&self) -> FilterError {
        if let Some(refused) = self.foreign_operator() {
            return refused;
        }
        self.unexpected("AND, OR or the end").with_help(
            "join conditions with AND or OR, and put text with spaces, quotes or operators in single quotes",
        )
    }

    fn foreign_operator(&self) -> Option<FilterError> {
        FOREIGN_OPERATORS
            .iter()
            .find(|(word, _)| self.is_word(word))
            .map(|(word, help)| {
                self.error(format!("{word} is not an operator of the filter language"))
                    .with_help(*help)
            })
    }

    fn disjunction(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.conjunction()?];
        while self.token.kind == Kind::Or || self.is_word("OR") {
            self.advance()?;
            parts.push(self.conjunction()?);
        }
        Ok(one_or(parts, Filter::Or))
    }

    fn conjunction(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.negation()?];
        while self.token.kind == Kind::And || self.is_word("AND") {
            self.advance()?;
            parts.push(self.negation()?);
        }
        Ok(one_or(parts, Filter::And))
    }

    fn negation(&mut self) -> Result<Filter, FilterError> {
        if self.is_word("NOT") {
            self.deeper()?;
            self.advance()?;
            let inner = self.negation()?;
            self.depth -= 1;
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.token.kind != Kind::Open {
            return self.condition();
        }
        self.deeper()?;
        let opener = self.advance()?;
        let inner = self.disjunction()?;
        match self.token.kind {
            Kind::Close => self.advance()?,
            Kind::End => {
                return Err(
                    FilterError::new(opener.position, "this `(` is never closed")
                        .with_help("every `(` needs a `)` after it"),
                );
            }
            _ => return Err(self.after_condition()),
        };
        self.depth -= 1;
        Ok(inner)
    }

    /// Whether `EXISTS relation` stands here; a column may be called `exists` all the same.
    fn is_exists(&self) -> Result<bool, FilterError> {
        if !self.is_word("EXISTS") {
            return Ok(false);
        }
        Ok(match self.ahead()?.kind {
            Kind::Word(word) => {
                let mut operators = OPERATORS.iter().chain(&["STARTS", "ENDS"]);
                is_bare_name(word) && !operators.any(|known| known.eq_ignore_ascii_case(word))
            }
            Kind::Quoted(_) | Kind::Name(_) => true,
            _ => false,
        })
    }

    fn exists(&mut self) -> Result<Filter, FilterError> {
        if matches!(self.source, Source::Role | Source::Having(_)) {
            return Err(self
                .error("EXISTS is only for the filters of callers")
                .with_help("write a condition on columns of the table itself"));
        }
        self.deeper()?;
        self.advance()?;
        let relation = Field {
            name: match &self.token.kind {
                Kind::Quoted(name) | Kind::Name(name) if !name.is_empty() => {
                    name.clone().into_owned()
                }
                Kind::Word(word) if is_bare_name(word) => (*word).to_owned(),
                _ => return Err(self.unexpected("a relation")),
            },
            position: self.token.position,
        };
        self.advance()?;
        if self.token.kind != Kind::Open {
            self.depth -= 1;
            return Ok(Filter::Exists {
                relation,
                filter: None,
            });
        }
        let opener = self.advance()?;
        let filter = match self.token.kind {
            Kind::Close => None,
            _ => Some(Box::new(self.disjunction()?)),
        };
        match self.token.kind {
            Kind::Close => self.advance()?,
            Kind::End => {
                return Err(
                    FilterError::new(opener.position, "this `(` is never closed")
                        .with_help("every `(` needs a `)` after it"),
                );
            }
            _ => return Err(self.after_condition()),
        };
        self.depth -= 1;
        Ok(Filter::Exists { relation, filter })
    }

    fn condition(&mut self) -> Result<Filter, FilterError> {
        if self.is_exists()? {
            return self.exists();
        }
        let field = self.field()?;
        if let Kind::Comparison(operator) = self.token.kind {
            self.advance()?;
            return self.comparison(field, operator);
        }
        let negated = self.is_word("NOT");
        if negated {
            self.advance()?;
        }
        let Kind::Word(word) = self.token.kind else {
            return Err(self.unexpected("an operator").with_help(OPERATOR_HELP));
        };
        if let Some(refused) = self.foreign_operator() {
            return Err(refused);
        }
        let keyword = word.to_ascii_uppercase();
        match keyword.as_str() {
            "IN" => {
                self.advance()?;
                let values = self.list()?;
                Ok(Filter::In {
                    field,
                    values,
                    negated,
                })
            }
            "BETWEEN" => {
                self.advance()?;
                let low = self.operand("BETWEEN")?;
                if !self.is_word("AND") {
                    return Err(self.unexpected("the AND of BETWEEN"));
                }
                self.advance()?;
                let high = self.operand("BETWEEN")?;
                Ok(Filter::Between {
                    field,
                    low,
                    high,
                    negated,
                })
            }
            "LIKE" => self.matching(field, Matching::Like, negated),
            "ILIKE" => self.matching(field, Matching::ILike, negated),
            "CONTAINS" => self.matching(field, Matching::Contains, negated),
            "STARTS" | "ENDS" => {
                if !is_word(&self.ahead()?, "WITH") {
                    self.advance()?;
                    return Err(self.unexpected(&format!("the WITH of {keyword} WITH")));
                }
                self.advance()?;
                let how = if keyword == "STARTS" {
                    Matching::StartsWith
                } else {
                    Matching::EndsWith
                };
                self.matching(field, how, negated)
            }
            _ if negated => {
                Err(self.unexpected("IN, BETWEEN, LIKE, ILIKE, CONTAINS, STARTS WITH or ENDS WITH"))
            }
            "IS" => self.null_test(field),
            "EQ" => self.comparison_word(field, Comparison::Equal),
            "NE" => self.comparison_word(field, Comparison::NotEqual),
            "GT" => self.comparison_word(field, Comparison::Greater),
            "GTE" => self.comparison_word(field, Comparison::GreaterOrEqual),
            "LT" => self.comparison_word(field, Comparison::Less),
            "LTE" => self.comparison_word(field, Comparison::LessOrEqual),
            _ => {
                let known = OPERATORS.iter().copied().chain(["STARTS", "ENDS"]);
                let help = match nearest(word, known) {
                    Some(near) => format!("did you mean {near}? {OPERATOR_HELP}"),
                    None => OPERATOR_HELP.to_owned(),
                };
                Err(self.unexpected("an operator").with_help(help))
            }
        }
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        const HELP: &str =
            "write the column first, then the operator, then the value: name = 'Ann'";
        let position = self.token.position;
        let named = |name: &str| Field {
            name: name.to_owned(),
            position,
        };
        match &self.token.kind {
            Kind::Quoted(name) | Kind::Name(name) => {
                if name.is_empty() {
                    return Err(self.error("the name of a column is empty"));
                }
                let field = named(name);
                self.advance()?;
                Ok(field)
            }
            Kind::Word(word) => {
                let word = *word;
                if self.ahead()?.kind == Kind::Open {
                    return self.function_on_the_left(word);
                }
                if is_number(word) || ["true", "false", "null"].contains(&&*word.to_lowercase()) {
                    return Err(self
                        .error(format!(
                            "a value (`{}`) stands on the left side",
                            brief(word)
                        ))
                        .with_help(HELP));
                }
                if !is_bare_name(word) {
                    let message = format!("`{}` is not the name of a column", brief(word));
                    return Err(self.error(message).with_help(
                        "put names with special characters in double quotes: \"unit-price\"",
                    ));
                }
                let field = named(word);
                self.advance()?;
                Ok(field)
            }
            Kind::Text(_) | Kind::Parameter(_) | Kind::Lookup(_) => Err(self
                .error(format!(
                    "a value (`{}`) stands on the left side",
                    brief(self.written(&self.token))
                ))
                .with_help(HELP)),
            _ => Err(self.unexpected("a column").with_help(HELP)),
        }
    }

    /// `word (` in the place of a column: an aggregate in `having`, an error elsewhere.
    fn function_on_the_left(&mut self, word: &str) -> Result<Field, FilterError> {
        if let Some(refused) = self.foreign_operator() {
            return Err(refused);
        }
        let function = AGGREGATES
            .iter()
            .find(|function| function.eq_ignore_ascii_case(word));
        let (Source::Having(_), Some(function)) = (self.source, function) else {
            return Err(self
                .error(format!("`{}` is a function, not a column", brief(word)))
                .with_help("functions are not part of the filter language"));
        };
        let position = self.token.position;
        self.advance()?;
        self.advance()?;
        let column = match &self.token.kind {
            Kind::Word("*") if *function == "COUNT" => "ALL".to_owned(),
            Kind::Quoted(name) | Kind::Name(name) => name.clone().into_owned(),
            Kind::Word(name) if is_bare_name(name) => (*name).to_owned(),
            _ => return Err(self.unexpected("a column")),
        };
        self.advance()?;
        if self.token.kind != Kind::Close {
            return Err(self.unexpected("`)`"));
        }
        self.advance()?;
        Ok(Field {
            name: format!("{function}_{column}"),
            position,
        })
    }

    fn comparison_word(
        &mut self,
        field: Field,
        operator: Comparison,
    ) -> Result<Filter, FilterError> {
        self.advance()?;
        self.comparison(field, operator)
    }

    fn comparison(&mut self, field: Field, operator: Comparison) -> Result<Filter, FilterError> {
        let position = self.token.position;
        let value = self.value(operator.symbol())?;
        match (value, operator) {
            (Operand::Null, Comparison::Equal) => Ok(Filter::IsNull {
                field,
                negated: false,
            }),
            (Operand::Null, Comparison::NotEqual) => Ok(Filter::IsNull {
                field,
                negated: true,
            }),
            (Operand::Null, _) => Err(null_refused(position, operator.symbol())),
            (value, _) => Ok(Filter::Compare {
                field,
                operator,
                value,
            }),
        }
    }

    fn null_test(&mut self, field: Field) -> Result<Filter, FilterError> {
        self.advance()?;
        let negated = self.is_word("NOT");
        if negated {
            self.advance()?;
        }
        if !self.is_word("NULL") {
            return Err(self
                .unexpected("NULL")
                .with_help("IS is only for IS NULL and IS NOT NULL; compare values with ="));
        }
        self.advance()?;
        Ok(Filter::IsNull { field, negated })
    }

    fn matching(
        &mut self,
        field: Field,
        how: Matching,
        negated: bool,
    ) -> Result<Filter, FilterError> {
        self.advance()?;
        let position = self.token.position;
        let value = match self.token.kind {
            // A pattern is text, whatever it looks like: `code LIKE 007`.
            Kind::Word(_) if self.ahead()?.kind != Kind::Open => {
                Operand::Text(self.words()?.to_owned())
            }
            _ => match self.value(how.keyword())? {
                Operand::Number(digits) => Operand::Text(digits),
                Operand::Boolean(value) => Operand::Text(value.to_string()),
                Operand::Null => return Err(null_refused(position, how.keyword())),
                Operand::Now(_) => {
                    return Err(FilterError::new(
                        position,
                        format!("{} takes a text, not a time", how.keyword()),
                    ));
                }
                text @ (Operand::Text(_) | Operand::Lookup(_)) => text,
            },
        };
        Ok(Filter::Match {
            field,
            how,
            value,
            negated,
        })
    }

    fn list(&mut self) -> Result<Vec<Operand>, FilterError> {
        const HELP: &str = "write a list as (1, 2, 3)";
        if self.token.kind != Kind::Open {
            return Err(self
                .error("filter value lists must be wrapped in parentheses")
                .with_help(HELP));
        }
        let opener = self.advance()?;
        if self.token.kind == Kind::Close {
            return Err(self.error("the list is empty").with_help(HELP));
        }
        let mut values = Vec::new();
        loop {
            if self.is_word("SELECT") && matches!(self.ahead()?.kind, Kind::Word(_)) {
                return Err(self
                    .error("sub-queries are not part of the filter language")
                    .with_help(HELP));
            }
            if values.len() == MAX_LIST_VALUES {
                return Err(self.error(format!("a list has more than {MAX_LIST_VALUES} values")));
            }
            values.push(self.operand("IN")?);
            match self.token.kind {
                Kind::Comma => {
                    self.advance()?;
                }
                Kind::Close => {
                    self.advance()?;
                    return Ok(values);
                }
                Kind::End => {
                    return Err(
                        FilterError::new(opener.position, "this `(` is never closed")
                            .with_help(HELP),
                    );
                }
                _ => return Err(self.unexpected("`,` or `)`").with_help(HELP)),
            }
        }
    }

    /// A value that is not null.
    fn operand(&mut self, operator: &str) -> Result<Operand, FilterError> {
        let position = self.token.position;
        match self.value(operator)? {
            Operand::Null => Err(null_refused(position, operator)),
            value => Ok(value),
        }
    }

    fn value(&mut self, operator: &str) -> Result<Operand, FilterError> {
        match &self.token.kind {
            Kind::Text(text) | Kind::Quoted(text) => {
                let text = text.clone().into_owned();
                if matches!(self.source, Source::Role) && mentions_lookup(&text) {
                    return Err(self.error("a lookup inside quotes is only text").with_help(
                        "write a lookup alone and without quotes: owner = {user.email}",
                    ));
                }
                self.advance()?;
                Ok(Operand::Text(text))
            }
            Kind::Parameter(name) => {
                let operand = self.parameter(name)?;
                self.advance()?;
                Ok(operand)
            }
            Kind::Lookup(name) => {
                let name = (*name).to_owned();
                self.advance()?;
                Ok(Operand::Lookup(name))
            }
            Kind::Open => {
                self.advance()?;
                let now = self.function()?;
                if self.token.kind != Kind::Close {
                    return Err(self.no_expression());
                }
                self.advance()?;
                Ok(Operand::Now(now))
            }
            Kind::Word(_) if self.ahead()?.kind == Kind::Open => Ok(Operand::Now(self.function()?)),
            Kind::Word(_) => {
                let words = self.words()?;
                Ok(match words.to_ascii_lowercase().as_str() {
                    "null" => Operand::Null,
                    "true" => Operand::Boolean(true),
                    "false" => Operand::Boolean(false),
                    _ if is_number(words) => Operand::Number(words.to_owned()),
                    _ => Operand::Text(words.to_owned()),
                })
            }
            Kind::Name(_) => Err(self
                .error("a column stands on the right side")
                .with_help("the right side is always a value; two columns cannot be compared")),
            _ => Err(self
                .unexpected(&format!("the value of {operator}"))
                .with_help("an empty text is written ''")),
        }
    }

    fn parameter(&self, name: &str) -> Result<Operand, FilterError> {
        let parameters = match self.source {
            Source::Caller(parameters) | Source::Having(parameters) => parameters,
            Source::Role => {
                return Err(self
                    .error("the filter of a role has no parameters")
                    .with_help(
                        "use a lookup such as {user.email}, or put the text in single quotes",
                    ));
            }
        };
        parameters.get(name).cloned().ok_or_else(|| {
            let refused = self.error(format!("the parameter `:{}` has no value", brief(name)));
            match nearest(name, parameters.names()) {
                Some(near) => refused.with_help(format!("did you mean `:{near}`?")),
                None => refused.with_help(format!(
                    "give it one in `params`, or put the text in single quotes: ':{}'",
                    brief(name)
                )),
            }
        })
    }

    /// A function of the closed list, with or without `()`.
    fn function(&mut self) -> Result<Now, FilterError> {
        let Some((_, now)) = TIME_FUNCTIONS.iter().find(|(name, _)| self.is_word(name)) else {
            return Err(self.no_expression());
        };
        self.advance()?;
        if self.token.kind == Kind::Open {
            self.advance()?;
            if self.token.kind != Kind::Close {
                return Err(self.no_expression());
            }
            self.advance()?;
        }
        Ok(*now)
    }

    fn no_expression(&self) -> FilterError {
        let names: Vec<&str> = TIME_FUNCTIONS.iter().map(|(name, _)| *name).collect();
        self.error("expressions are not part of the filter language")
            .with_help(format!(
                "write a value without parentheses, or one of the functions {} without arguments: (NOW())",
                names.join(", ")
            ))
    }

    /// Whether the current word is an operator, of this language or one that people may expect.
    fn is_operator(&self) -> Result<bool, FilterError> {
        if self.is_word("STARTS") || self.is_word("ENDS") {
            return Ok(is_word(&self.ahead()?, "WITH"));
        }
        Ok(OPERATORS
            .iter()
            .chain(&["NOR", "XOR", "RLIKE", "REGEXP"])
            .any(|operator| self.is_word(operator)))
    }

    /// Unquoted text: words up to the next delimiter, AND or OR, with the blanks between them.
    fn words(&mut self) -> Result<&'a str, FilterError> {
        let first = self.token.start;
        let mut last = first;
        while let Kind::Word(word) = self.token.kind {
            if self.is_word("AND") || self.is_word("OR") {
                break;
            }
            let is_first = last == first;
            if is_first && self.is_word("NOT") || !is_first && self.is_operator()? {
                return Err(self
                    .error(format!("unexpected operator `{word}` in unquoted text"))
                    .with_help(
                        "put text that contains an operator in single quotes, or write AND or OR before the next condition",
                    ));
            }
            last = self.token.end;
            self.advance()?;
        }
        if last == first {
            return Err(self.unexpected("a value"));
        }
        Ok(self.text.get(first..last).unwrap_or_default())
    }
}

fn is_word(token: &Token<'_>, keyword: &str) -> bool {
    matches!(token.kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

fn null_refused(position: usize, operator: &str) -> FilterError {
    FilterError::new(position, format!("null cannot be the value of {operator}"))
        .with_help("use IS NULL or IS NOT NULL, joined with AND or OR")
}

/// Whether a text contains what an author may have meant as a lookup: `{user.email}`.
fn mentions_lookup(text: &str) -> bool {
    text.split('{').skip(1).any(|rest| {
        rest.split_once('}').is_some_and(|(name, _)| {
            name.contains('.')
                && name
                    .chars()
                    .all(|character| character.is_ascii_alphanumeric() || "._".contains(character))
        })
    })
}
