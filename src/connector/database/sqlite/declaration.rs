//! The text of CREATE TABLE, as SQLite keeps it: its columns and constraints, and the checks among them. Pure.
//!
//! SQLite has parsed the text before, so it is well formed; what is not understood is left alone.

use std::ops::Range;

use crate::connector::database::catalog::Check;

/// A piece of SQL: a word, a quoted name or text, a number, or one other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Where it stands in the text.
    pub(super) range: Range<usize>,
    /// How many parentheses are open around it; the parentheses themselves count as outside.
    pub(super) depth: usize,
}

impl Token {
    /// What stands there.
    pub(super) fn text<'a>(&self, sql: &'a str) -> &'a str {
        sql.get(self.range.clone()).unwrap_or_default()
    }

    /// Whether it is this keyword, which a quoted name never is.
    pub(super) fn is(&self, sql: &str, keyword: &str) -> bool {
        self.text(sql).eq_ignore_ascii_case(keyword)
    }

    /// The name that it is, without its quotes.
    pub(super) fn name(&self, sql: &str) -> String {
        let text = self.text(sql);
        let Some(first) = text.chars().next() else {
            return String::new();
        };
        let last = match first {
            '"' | '`' | '\'' => first,
            '[' => ']',
            _ => return text.to_owned(),
        };
        let inside = text.strip_prefix(first).unwrap_or(text);
        let inside = inside.strip_suffix(last).unwrap_or(inside);
        if first == '[' {
            inside.to_owned()
        } else {
            inside.replace(&format!("{first}{first}"), &first.to_string())
        }
    }
}

/// The pieces of a text without spaces and comments.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0_usize;
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else {
            break;
        };
        let length = match first {
            _ if first.is_whitespace() => {
                at = at.saturating_add(first.len_utf8());
                continue;
            }
            '-' if rest.starts_with("--") => {
                at = at.saturating_add(rest.find('\n').map_or(rest.len(), |end| end + 1));
                continue;
            }
            '/' if rest.starts_with("/*") => {
                at = at.saturating_add(rest.find("*/").map_or(rest.len(), |end| end + 2));
                continue;
            }
            '\'' | '"' | '`' => quoted_length(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            _ if is_word(first) => rest
                .char_indices()
                .find(|(_, character)| !is_word(*character))
                .map_or(rest.len(), |(end, _)| end),
            _ => first.len_utf8(),
        };
        if first == ')' {
            depth = depth.saturating_sub(1);
        }
        tokens.push(Token {
            range: at..at.saturating_add(length),
            depth,
        });
        if first == '(' {
            depth = depth.saturating_add(1);
        }
        at = at.saturating_add(length);
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

/// The length of what begins with a quote and ends with the next one that is not doubled.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return at.saturating_add(1);
            }
        }
    }
    rest.len()
}

/// The checks of a table, those of its columns included, in their order.
pub(super) fn checks_of(sql: &str) -> Vec<Check> {
    let tokens = tokens(sql);
    let mut checks = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.depth != 1 || !token.is(sql, "check") {
            continue;
        }
        let open = tokens.get(index.saturating_add(1));
        let Some(open) = open.filter(|open| open.text(sql) == "(") else {
            continue;
        };
        let close = tokens
            .iter()
            .skip(index.saturating_add(2))
            .find(|token| token.depth == open.depth && token.text(sql) == ")");
        let Some(inside) = close.and_then(|close| sql.get(open.range.end..close.range.start))
        else {
            continue;
        };
        let name = index
            .checked_sub(2)
            .and_then(|before| tokens.get(before..index))
            .and_then(|before| match before {
                [word, name] if word.is(sql, "constraint") => Some(name.name(sql)),
                _ => None,
            });
        checks.push(Check {
            name: name.unwrap_or_default(),
            sql: inside.trim().to_owned(),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_found_wherever_they_stand() {
        let sql = "CREATE TABLE \"check\" (a INT CHECK (a > 0 AND (a) < 9), -- CHECK (no)\n \
                   b TEXT DEFAULT 'CHECK (no)' /* CHECK (no) */ CONSTRAINT \"b \"\"1\"\"\" CHECK (b <> ')'), \
                   [check] INT, CONSTRAINT c CHECK(a<b), check (1))";
        let found: Vec<(String, String)> = checks_of(sql)
            .into_iter()
            .map(|check| (check.name, check.sql))
            .collect();
        let expected = [
            ("", "a > 0 AND (a) < 9"),
            ("b \"1\"", "b <> ')'"),
            ("c", "a<b"),
            ("", "1"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, sql)| (name.to_owned(), sql.to_owned()))
        );
    }

    #[test]
    fn a_text_that_ends_too_early_is_read_to_its_end() {
        for sql in ["", "'", "\"a", "[a", "/*", "--", "CHECK", "(CHECK (", ")))"] {
            assert!(checks_of(sql).is_empty(), "{sql}");
        }
    }
}
