//! Filter text to tokens. Pure.
//!
//! Tokens borrow from the text. The lexer knows nothing of the grammar: whether a word is a name, an operator or a
//! value, and whether `"…"` is a name or a text, is for the parser to say.

use std::borrow::Cow;

use super::{Comparison, FilterError};
use crate::error::brief;

/// A piece of filter text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub(super) kind: Kind<'a>,
    /// Bytes before it.
    pub(super) start: usize,
    /// Bytes before what follows it.
    pub(super) end: usize,
    /// Characters before it.
    pub(super) position: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `=`, `!=`, `<`, …
    Comparison(Comparison),
    /// `'…'`
    Text(Cow<'a, str>),
    /// `"…"`: a name on the left side, a text on the right.
    Quoted(Cow<'a, str>),
    /// `` `…` `` or `[…]`: a name.
    Name(Cow<'a, str>),
    /// `:name`
    Parameter(&'a str),
    /// `{name}`
    Lookup(&'a str),
    /// Anything else up to the next delimiter.
    Word(&'a str),
    /// The end of the text.
    End,
}

/// Cuts a text into tokens, one at a time.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            position: 0,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    /// Steps over the first `bytes` bytes of the rest and gives them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.offset += taken.len();
        self.position += taken.chars().count();
        taken
    }

    /// The next token; [`Kind::End`] again and again once the text is used up.
    pub(super) fn next(&mut self) -> Result<Token<'a>, FilterError> {
        let blank = self.rest().len() - self.rest().trim_start().len();
        self.take(blank);
        let (start, position) = (self.offset, self.position);
        let kind = self.kind(position)?;
        Ok(Token {
            kind,
            start,
            end: self.offset,
            position,
        })
    }

    fn kind(&mut self, position: usize) -> Result<Kind<'a>, FilterError> {
        let rest = self.rest();
        let symbol = |lexer: &mut Self, bytes, kind| {
            lexer.take(bytes);
            Ok(kind)
        };
        let mut characters = rest.chars();
        let (Some(first), second) = (characters.next(), characters.next()) else {
            return Ok(Kind::End);
        };
        match (first, second) {
            ('(', _) => symbol(self, 1, Kind::Open),
            (')', _) => symbol(self, 1, Kind::Close),
            (',', _) => symbol(self, 1, Kind::Comma),
            ('&', Some('&')) => symbol(self, 2, Kind::And),
            ('|', Some('|')) => symbol(self, 2, Kind::Or),
            ('!', Some('=')) | ('<', Some('>')) => {
                symbol(self, 2, Kind::Comparison(Comparison::NotEqual))
            }
            ('=', Some('=')) => Err(FilterError::new(
                position,
                "`==` is not an operator of the filter language",
            )
            .with_help("write `=`")),
            ('<', Some('=')) => symbol(self, 2, Kind::Comparison(Comparison::LessOrEqual)),
            ('>', Some('=')) => symbol(self, 2, Kind::Comparison(Comparison::GreaterOrEqual)),
            ('=', _) => symbol(self, 1, Kind::Comparison(Comparison::Equal)),
            ('<', _) => symbol(self, 1, Kind::Comparison(Comparison::Less)),
            ('>', _) => symbol(self, 1, Kind::Comparison(Comparison::Greater)),
            ('\'', _) => Ok(Kind::Text(self.quoted('\'', position)?)),
            ('"', _) => Ok(Kind::Quoted(self.quoted('"', position)?)),
            ('`', _) => Ok(Kind::Name(self.quoted('`', position)?)),
            ('[', _) => Ok(Kind::Name(self.quoted(']', position)?)),
            ('{', _) => self.lookup(position),
            (';' | ']' | '}', _) => {
                Err(FilterError::new(position, format!("unexpected `{first}`"))
                    .with_help("put text with special characters in single quotes: 'a;b'"))
            }
            _ => self.word(position),
        }
    }

    /// A quoted piece. A doubled quote stands for one; a backslash before a quote makes it part of the text only
    /// where the quote cannot be the end, so `'C:\'` and `'O\'Brien'` both mean what they say.
    fn quoted(&mut self, quote: char, position: usize) -> Result<Cow<'a, str>, FilterError> {
        let opener = self.take(1);
        let body = self.rest();
        let mut content = Cow::Borrowed("");
        let mut run_start = 0;
        let mut characters = body.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            if character != quote {
                continue;
            }
            let next = characters.peek().map(|(_, next)| *next);
            let run = body.get(run_start..index).unwrap_or_default();
            if next == Some(quote) {
                content.to_mut().push_str(run);
                content.to_mut().push(quote);
                characters.next();
                run_start = index + 2;
            } else if let Some(before) = run.strip_suffix('\\')
                && matches!(quote, '\'' | '"')
                && !before.ends_with('\\')
                && next.is_some_and(|next| !ends_value(next))
            {
                content.to_mut().push_str(before);
                content.to_mut().push(quote);
                run_start = index + 1;
            } else {
                if content.is_empty() {
                    content = Cow::Borrowed(run);
                } else {
                    content.to_mut().push_str(run);
                }
                self.take(index + 1);
                return Ok(content);
            }
        }
        Err(
            FilterError::new(position, format!("the `{opener}` is never closed"))
                .with_help("a quote inside text is written twice: 'O''Brien'"),
        )
    }

    fn lookup(&mut self, position: usize) -> Result<Kind<'a>, FilterError> {
        let name = self
            .rest()
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .map(|(name, _)| name);
        match name {
            Some(name) if is_reference_name(name) => {
                self.take(name.len() + 2);
                Ok(Kind::Lookup(name))
            }
            _ => Err(FilterError::new(
                position,
                "a lookup is a name in braces, without functions: {user.email}",
            )
            .with_help("put text that begins with a brace in single quotes")),
        }
    }

    fn word(&mut self, position: usize) -> Result<Kind<'a>, FilterError> {
        let rest = self.rest();
        let mut end = rest.len();
        let mut characters = rest.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            if ends_word(character, next) {
                end = index;
                break;
            }
        }
        let word = self.take(end);
        if word.starts_with("--") || word.ends_with("--") || word.contains("/*") {
            return Err(
                FilterError::new(position, "comments are not part of the filter language")
                    .with_help("put text with special characters in single quotes: '--'"),
            );
        }
        match word.strip_prefix(':') {
            Some(name) if is_reference_name(name) => Ok(Kind::Parameter(name)),
            Some(_) => Err(FilterError::new(
                position,
                format!("`{}` is not the name of a parameter", brief(word)),
            )
            .with_help("put text that begins with a colon in single quotes")),
            None => Ok(Kind::Word(word)),
        }
    }
}

/// Whether a character ends the word before it.
fn ends_word(character: char, next: Option<char>) -> bool {
    match character {
        '(' | ')' | ',' | '=' | '<' | '>' | '\'' | '"' | '`' | '[' | ']' | '{' | '}' | ';' => true,
        '&' | '|' => next == Some(character),
        '!' => next == Some('='),
        _ => character.is_whitespace(),
    }
}

/// Whether a character may stand directly after a value.
fn ends_value(character: char) -> bool {
    matches!(character, '(' | ')' | ',' | '&' | '|') || character.is_whitespace()
}

/// Whether a text can name a parameter or a lookup: letters, digits, `_`, `.` and `-`.
pub(super) fn is_reference_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '.' | '-'))
}
