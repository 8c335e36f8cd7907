//! Options that are lists: `fields`, `order`, `group`, `related`, `ids`. Pure.
//!
//! Items are separated by commas. A name or a value that holds a comma, a parenthesis or a quote is quoted:
//! `"name"`, `` `name` ``, `[name]`, and for values also `'value'`; the closing quote is written twice to be part
//! of it. Positions in errors count characters and begin with 1.

use super::super::plan::{Aggregate, Nulls};
use super::{FieldItem, Identifier, OrderItem, function_name};
use crate::error::{Error, ErrorKind, Result, brief, nearest};

/// Most items of `fields`, `group` and `id_field`.
pub const MAX_FIELDS: usize = 2_000;
/// Most items of `order`.
pub const MAX_ORDER_ITEMS: usize = 64;
/// Most items of `related`.
pub const MAX_RELATED_ITEMS: usize = 64;
/// Most levels of nested relations.
pub const MAX_RELATED_DEPTH: usize = 5;
/// Most identifiers of one call.
pub const MAX_IDENTIFIERS: usize = 10_000;

const AGGREGATES: &[Aggregate] = &[
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Average,
    Aggregate::Minimum,
    Aggregate::Maximum,
];

/// What ends a bare name.
const NAME_ENDS: &[char] = &[',', '(', ')', '"', '`', '[', ']'];

struct Scanner<'a> {
    option: &'a str,
    kind: ErrorKind,
    text: &'a str,
    offset: usize,
}

impl<'a> Scanner<'a> {
    fn new(option: &'a str, kind: ErrorKind, text: &'a str) -> Self {
        let mut scanner = Self {
            option,
            kind,
            text,
            offset: 0,
        };
        scanner.skip_blanks();
        scanner
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, character: char) -> bool {
        let found = self.rest().starts_with(character);
        if found {
            self.offset += character.len_utf8();
            self.skip_blanks();
        }
        found
    }

    /// What stands before the next of `ends`, trimmed.
    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest
            .find(ends)
            .and_then(|end| rest.get(..end))
            .unwrap_or(rest);
        self.offset += taken.len();
        self.skip_blanks();
        taken.trim()
    }

    /// A quoted piece, if one begins here.
    fn quoted(&mut self, openers: &[char]) -> Result<Option<String>> {
        let Some(opener) = self.peek().filter(|next| openers.contains(next)) else {
            return Ok(None);
        };
        let closer = if opener == '[' { ']' } else { opener };
        let body = self.rest().get(1..).unwrap_or_default();
        let mut content = String::new();
        let mut characters = body.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            if character != closer {
                content.push(character);
            } else if characters.next_if(|(_, next)| *next == closer).is_some() {
                content.push(closer);
            } else {
                self.offset += index + 2;
                self.skip_blanks();
                return Ok(Some(content));
            }
        }
        Err(self.error(format!("the `{opener}` is never closed")))
    }

    fn error(&self, message: impl AsRef<str>) -> Error {
        let before = self.text.get(..self.offset).unwrap_or_default();
        Error::new(
            self.kind,
            format!(
                "invalid option `{}` at character {}: {}",
                brief(self.option),
                before.chars().count().saturating_add(1),
                message.as_ref()
            ),
        )
    }

    /// Reads items with commas between them to the end of the text; none at all from a blank text.
    fn items<T>(
        mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if self.rest().is_empty() {
            return Ok(items);
        }
        loop {
            if items.len() == most {
                return Err(self.error(format!("there are more than {most} items")));
            }
            items.push(item(&mut self)?);
            if !self.eat(',') {
                break;
            }
        }
        match self.peek() {
            None => Ok(items),
            Some(unexpected) => Err(self.error(format!("unexpected `{unexpected}`")).with_help(
                "put commas between items, and names with special characters in double quotes",
            )),
        }
    }

    /// A name, bare or quoted. A bare one goes to the next delimiter, or with `one_word` to the next blank.
    fn name(&mut self, one_word: bool) -> Result<String> {
        let quoted = self.quoted(&['"', '`', '['])?;
        let name = match quoted {
            Some(name) => name,
            None => self
                .until(|character| {
                    NAME_ENDS.contains(&character) || one_word && character.is_whitespace()
                })
                .to_owned(),
        };
        if name.is_empty() {
            return Err(self.error("a name is missing"));
        }
        Ok(name)
    }

    /// A column, or an aggregate such as `SUM(total)`.
    fn field_item(&mut self, one_word: bool) -> Result<FieldItem> {
        let name = self.name(one_word)?;
        if !self.eat('(') {
            return Ok(FieldItem::Column(name));
        }
        let Some(function) = AGGREGATES
            .iter()
            .copied()
            .find(|function| function_name(*function).eq_ignore_ascii_case(&name))
        else {
            return Err(self
                .error(format!("`{}` is not a function", brief(&name)))
                .with_help("the functions are COUNT, SUM, AVG, MIN and MAX"));
        };
        let column = self.name(false)?;
        if !self.eat(')') {
            return Err(self.error("a `)` is missing"));
        }
        match (function, column.as_str()) {
            (Aggregate::Count, "*") => Ok(FieldItem::Aggregate(function, None)),
            (_, "*") => Err(self
                .error("only COUNT takes `*`")
                .with_help("name the column: SUM(total)")),
            _ => Ok(FieldItem::Aggregate(function, Some(column))),
        }
    }
}

/// The items of `fields`; `*` comes as a column of that name.
pub(super) fn fields(option: &str, text: &str) -> Result<Vec<FieldItem>> {
    Scanner::new(option, ErrorKind::InvalidParameter, text)
        .items(MAX_FIELDS, |scanner| scanner.field_item(false))
}

/// The items of `group` and `id_field`.
pub(super) fn names(option: &str, text: &str) -> Result<Vec<String>> {
    Scanner::new(option, ErrorKind::InvalidParameter, text)
        .items(MAX_FIELDS, |scanner| scanner.name(false))
}

/// The items of `order`.
pub(super) fn order(option: &str, text: &str) -> Result<Vec<OrderItem>> {
    const HELP: &str = "write `name`, `name asc` or `name desc`, and after it perhaps `nulls first` or `nulls last`; \
         put names with spaces in double quotes";
    Scanner::new(option, ErrorKind::InvalidFilter, text).items(MAX_ORDER_ITEMS, |scanner| {
        let item = scanner.field_item(true)?;
        let mut descending = None;
        let mut nulls = None;
        loop {
            let before = scanner.offset;
            let word = scanner
                .until(|character| NAME_ENDS.contains(&character) || character.is_whitespace());
            match word.to_ascii_lowercase().as_str() {
                "" => break,
                "asc" if descending.is_none() && nulls.is_none() => descending = Some(false),
                "desc" if descending.is_none() && nulls.is_none() => descending = Some(true),
                "nulls" if nulls.is_none() => {
                    let place = scanner.until(|character| {
                        NAME_ENDS.contains(&character) || character.is_whitespace()
                    });
                    nulls = Some(match place.to_ascii_lowercase().as_str() {
                        "first" => Nulls::First,
                        "last" => Nulls::Last,
                        _ => {
                            return Err(scanner
                                .error("FIRST or LAST is missing after NULLS")
                                .with_help(HELP));
                        }
                    });
                }
                _ => {
                    scanner.offset = before;
                    return Err(scanner
                        .error(format!("`{}` is not a direction", brief(word)))
                        .with_help(HELP));
                }
            }
        }
        Ok(OrderItem {
            item,
            descending: descending.unwrap_or(false),
            nulls,
        })
    })
}

/// The items of `related`: each the names from the table outwards.
pub(super) fn related(option: &str, text: &str) -> Result<Vec<Vec<String>>> {
    Scanner::new(option, ErrorKind::InvalidParameter, text).items(MAX_RELATED_ITEMS, |scanner| {
        let mut path = Vec::new();
        loop {
            if path.len() == MAX_RELATED_DEPTH {
                return Err(scanner.error(format!(
                    "relations are nested more than {MAX_RELATED_DEPTH} levels deep"
                )));
            }
            let name = match scanner.quoted(&['"', '`', '['])? {
                Some(name) => name,
                None => scanner
                    .until(|character| NAME_ENDS.contains(&character) || character == '.')
                    .to_owned(),
            };
            if name.is_empty() {
                return Err(scanner.error("the name of a relation is missing"));
            }
            path.push(name);
            if !scanner.eat('.') {
                return Ok(path);
            }
        }
    })
}

/// The items of `ids`: `1`, `'a,b'`, `(a=1,b=2)`.
pub(super) fn identifiers(option: &str, text: &str) -> Result<Vec<Identifier>> {
    const QUOTES: &[char] = &['\'', '"'];
    Scanner::new(option, ErrorKind::InvalidParameter, text).items(MAX_IDENTIFIERS, |scanner| {
        if !scanner.eat('(') {
            if let Some(value) = scanner.quoted(QUOTES)? {
                return Ok(Identifier::Single(value));
            }
            let value = scanner.until(|character| character == ',');
            if value.is_empty() {
                return Err(scanner.error("an identifier is missing"));
            }
            return Ok(Identifier::Single(value.to_owned()));
        }
        let mut pairs = Vec::new();
        loop {
            let name = match scanner.quoted(&['"', '`', '['])? {
                Some(name) => name,
                None => scanner
                    .until(|character| matches!(character, '=' | ',' | '(' | ')'))
                    .to_owned(),
            };
            if name.is_empty() || !scanner.eat('=') {
                return Err(scanner
                    .error("a part of a composite identifier is not `name=value`")
                    .with_help("write (order_id=1,product_id=2), or put text with parentheses in single quotes"));
            }
            let value = match scanner.quoted(QUOTES)? {
                Some(value) => value,
                None => scanner
                    .until(|character| matches!(character, ',' | ')'))
                    .to_owned(),
            };
            pairs.push((name, value));
            if scanner.eat(',') {
                continue;
            }
            if scanner.eat(')') {
                return Ok(Identifier::Composite(pairs));
            }
            return Err(scanner.error("a `)` is missing"));
        }
    })
}

/// "did you mean" for a name, or the names that exist.
pub(super) fn suggestion<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    what: &str,
) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let names: Vec<String> = known.map(|known| format!("`{known}`")).collect();
    format!("{what} are {}", names.join(", "))
}
