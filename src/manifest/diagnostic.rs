//! What is wrong with a tree, where it stands, and what to write instead. Pure.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::tree::{TreeError, join};

/// Most problems that are reported at once.
pub const MAX_DIAGNOSTICS: usize = 500;
/// Most characters of a source line that are shown.
const MAX_SOURCE_CHARACTERS: usize = 160;
/// Characters on each side of the caret that are searched for secrets.
const NEIGHBOURHOOD: usize = 2000;
/// Characters that stay before the caret when a long source line is cut.
const SOURCE_LEAD: usize = 60;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The tree is not accepted.
    Error,
    /// The tree is accepted; somebody should look.
    Warning,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where something stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file's name within the tree.
    pub file: Arc<str>,
    /// The line; the first is 1.
    pub line: usize,
    /// The column in characters; the first is 1.
    pub column: usize,
}

/// `roles.toml:12:3`
impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Position {
    /// `roles.toml:12`, as rules and audit lines quote it.
    pub fn line(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// A position with the line of text around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub position: Position,
    /// The source line; a long one is cut, and what looks like a secret is masked.
    pub source: String,
    /// Characters of `source` before the caret.
    pub caret: usize,
    /// How many carets: at least one.
    pub length: usize,
}

impl Place {
    /// The place of the characters from `start` to `end` (in characters) of the line `text`.
    pub(super) fn new(position: Position, text: &str, start: usize, end: usize) -> Self {
        // Only the neighbourhood is looked at: a line may be as long as its file.
        let skipped = start.saturating_sub(NEIGHBOURHOOD);
        let near: String = text.chars().skip(skipped).take(2 * NEIGHBOURHOOD).collect();
        let is_cut_after = near.chars().count() == 2 * NEIGHBOURHOOD;
        let characters = mask_secrets(&near);
        let start = (start - skipped).min(characters.len());
        let end = end.saturating_sub(skipped).clamp(start, characters.len());
        let is_short = characters.len() <= MAX_SOURCE_CHARACTERS && skipped == 0 && !is_cut_after;
        let (first, last) = if is_short {
            (0, characters.len())
        } else {
            let first = start.saturating_sub(SOURCE_LEAD);
            (first, characters.len().min(first + MAX_SOURCE_CHARACTERS))
        };
        let mut source: String = characters
            .iter()
            .skip(first)
            .take(last - first)
            .map(|character| printable(*character))
            .collect();
        let mut caret = start - first;
        if first > 0 || skipped > 0 {
            source.insert(0, '…');
            caret += 1;
        }
        if last < characters.len() || is_cut_after {
            source.push('…');
        }
        Self {
            position,
            source: source.trim_end().to_owned(),
            caret,
            length: end.min(last).saturating_sub(start).max(1),
        }
    }

    /// The same place with every quoted text after the caret masked.
    #[must_use]
    pub(super) fn masked_after(mut self) -> Self {
        let mut quote = None;
        self.source = self
            .source
            .chars()
            .enumerate()
            .map(|(index, character)| match quote {
                _ if index < self.caret + self.length => character,
                None => {
                    quote = matches!(character, '"' | '\'').then_some(character);
                    character
                }
                Some(opening) if opening == character => {
                    quote = None;
                    character
                }
                Some(_) => '*',
            })
            .collect();
        self
    }

    /// The same place with every quoted text masked that does not look like the digest of a key. Of a line whose
    /// beginning is cut off all is masked, as nobody knows where quotes began.
    #[must_use]
    pub(super) fn masked_keys(mut self) -> Self {
        let is_quote = |character: char| matches!(character, '"' | '\'');
        let stars = |text: &str| "*".repeat(text.chars().count());
        let is_cut = self.source.starts_with('…');
        self.source = self
            .source
            .split_inclusive(is_quote)
            .enumerate()
            .map(|(index, piece)| {
                let text = piece.trim_end_matches(is_quote);
                let quote = piece.strip_prefix(text).unwrap_or_default();
                let is_text = is_cut || index % 2 == 1;
                let is_digest =
                    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let is_shown = !is_text || is_digest || matches!(text.trim(), "" | "," | "]");
                if is_shown {
                    piece.to_owned()
                } else {
                    stars(text) + quote
                }
            })
            .collect();
        self
    }

    /// The same place with the text under the caret masked.
    #[must_use]
    pub(super) fn masked(mut self) -> Self {
        let end = self.caret + self.length;
        let is_text = |character: char| matches!(character, '"' | '\'');
        let first = self.source.chars().nth(self.caret);
        // Of a table only what stands in quotes can be a secret.
        let is_table = matches!(first, Some('{' | '['));
        let mut is_quoted = !is_table;
        self.source = self
            .source
            .chars()
            .enumerate()
            .map(|(index, character)| {
                if index < self.caret || index >= end {
                    return character;
                }
                if is_text(character) && (is_table || index == self.caret || index + 1 == end) {
                    is_quoted = !is_table || !is_quoted;
                    return character;
                }
                if is_quoted { '*' } else { character }
            })
            .collect();
        self
    }
}

/// Control characters could move the cursor of a terminal.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}

/// Words in the names of keys whose quoted values are never shown.
const SECRET_WORDS: [&str; 6] = ["plain", "password", "passwd", "secret", "token", "private"];

/// The characters of a line, with `password = "…"` and its like masked.
fn mask_secrets(text: &str) -> Vec<char> {
    let mut characters: Vec<char> = text.chars().collect();
    let lowered: Vec<char> = text
        .chars()
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let mut index = 0;
    while let Some(rest) = lowered.get(index..).filter(|rest| !rest.is_empty()) {
        let word = SECRET_WORDS.iter().find(|word| {
            word.chars()
                .enumerate()
                .all(|(offset, letter)| rest.get(offset) == Some(&letter))
        });
        let Some(word) = word else {
            index += 1;
            continue;
        };
        index += word.len();
        let mut value = lowered
            .iter()
            .enumerate()
            .skip(index)
            .skip_while(|(_, character)| {
                character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '"' | '\'')
            })
            .skip_while(|(_, character)| character.is_whitespace());
        if !matches!(value.next(), Some((_, '='))) {
            continue;
        }
        let mut value = value.skip_while(|(_, character)| character.is_whitespace());
        let Some((opening, quote @ ('"' | '\''))) = value.next() else {
            continue;
        };
        let mut escaped = false;
        for (place, character) in lowered.iter().enumerate().skip(opening + 1) {
            if !escaped && character == quote {
                break;
            }
            escaped = !escaped && *character == '\\' && *quote == '"';
            if let Some(shown) = characters.get_mut(place) {
                *shown = '*';
            }
        }
        index = opening;
    }
    characters
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands; none when it concerns the tree as a whole.
    pub place: Option<Place>,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: place.into(),
            message: message.into(),
            help: None,
        }
    }

    /// A warning.
    pub fn warning(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, message)
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn order(&self) -> (Option<&Position>, Severity, &str) {
        let position = self.place.as_ref().map(|place| &place.position);
        (position, self.severity, &self.message)
    }
}

/// Everything that is wrong with a tree, sorted by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    label: String,
    files: usize,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Sorts `list` and keeps the first [`MAX_DIAGNOSTICS`]. `label` stands before file names; `files` is how many
    /// files were looked at.
    pub fn new(label: impl Into<String>, files: usize, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by(|left, right| left.order().cmp(&right.order()));
        list.dedup();
        if list.len() > MAX_DIAGNOSTICS {
            // Errors decide, so they are kept before warnings.
            list.sort_by_key(|diagnostic| diagnostic.severity);
            list.truncate(MAX_DIAGNOSTICS);
            list.sort_by(|left, right| left.order().cmp(&right.order()));
            list.push(Diagnostic::error(
                None,
                "there are more problems than these",
            ));
        }
        Self {
            label: label.into(),
            files,
            list,
        }
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, diagnostic: Diagnostic) -> Self {
        self.list.push(diagnostic);
        Self::new(self.label, self.files, self.list)
    }

    /// One by one, sorted by file and line.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// How many files were looked at.
    pub fn files(&self) -> usize {
        self.files
    }

    /// The file of a position as people find it: with the label of the tree.
    pub fn display_file(&self, position: &Position) -> String {
        join(&self.label, &position.file)
    }

    /// `[{"severity","file","line","column","message","help"}]`
    pub fn to_json(&self) -> Value {
        self.list
            .iter()
            .map(|diagnostic| {
                let position = diagnostic.place.as_ref().map(|place| &place.position);
                json!({
                    "severity": diagnostic.severity.name(),
                    "file": position.map(|position| self.display_file(position)),
                    "line": position.map(|position| position.line),
                    "column": position.map(|position| position.column),
                    "message": diagnostic.message,
                    "help": diagnostic.help,
                })
            })
            .collect()
    }

    /// `2 errors in 1 of 14 files`
    pub fn summary(&self) -> String {
        let count = |severity: Severity| {
            let count = self.count(severity);
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", severity.name()))
        };
        let counts: Vec<String> = [Severity::Error, Severity::Warning]
            .into_iter()
            .filter_map(count)
            .collect();
        let mut names: Vec<&str> = self
            .list
            .iter()
            .filter_map(|diagnostic| diagnostic.place.as_ref())
            .map(|place| place.position.file.as_ref())
            .collect();
        names.dedup();
        let plural = if self.files == 1 { "" } else { "s" };
        match (counts.is_empty(), names.is_empty()) {
            (true, _) => format!("no problems in {} file{plural}", self.files),
            (false, true) => counts.join(", "),
            (false, false) => format!(
                "{} in {} of {} file{plural}",
                counts.join(", "),
                names.len(),
                self.files
            ),
        }
    }

    /// For people: each problem with its source line, a caret and the mend, then the summary. With `coloured`, ANSI
    /// escapes are in it.
    pub fn render(&self, coloured: bool) -> String {
        let paint = |style: Style| if coloured { style } else { Style::new() };
        let bold = paint(Style::new().bold());
        let dim = paint(AnsiColor::Blue.on_default().bold());
        let help = paint(AnsiColor::Cyan.on_default().bold());
        let mut text = String::new();
        for diagnostic in &self.list {
            let severity = paint(match diagnostic.severity {
                Severity::Error => AnsiColor::Red.on_default().bold(),
                Severity::Warning => AnsiColor::Yellow.on_default().bold(),
            });
            let name = diagnostic.severity.name();
            let message = one_line(&diagnostic.message);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{severity}{name}{severity:#}{bold}: {message}{bold:#}"
            );
            if let Some(place) = &diagnostic.place {
                let Position { line, column, .. } = place.position;
                let file = self.display_file(&place.position);
                let gutter = " ".repeat(line.to_string().len());
                let lead = " ".repeat(place.caret);
                let carets = "^".repeat(place.length);
                let _ = writeln!(text, "  {file}:{line}:{column}");
                let space = if place.source.is_empty() { "" } else { " " };
                let _ = writeln!(text, "  {dim}{line} |{dim:#}{space}{}", place.source);
                let _ = writeln!(
                    text,
                    "  {dim}{gutter} |{dim:#} {lead}{severity}{carets}{severity:#}"
                );
            }
            if let Some(words) = &diagnostic.help {
                let _ = writeln!(text, "  {help}help{help:#}: {}", one_line(words));
            }
            text.push('\n');
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character == '\n' {
                ' '
            } else {
                printable(character)
            }
        })
        .collect()
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl From<TreeError> for Diagnostics {
    fn from(error: TreeError) -> Self {
        let diagnostic = Diagnostic {
            help: error.help.clone(),
            ..Diagnostic::error(None, error.to_string())
        };
        Self::new("", 0, vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, start: usize, end: usize) -> Place {
        let position = Position {
            file: Arc::from("orders.toml"),
            line: 7,
            column: start + 1,
        };
        Place::new(position, text, start, end)
    }

    #[test]
    fn a_problem_is_shown_with_its_line_a_caret_and_the_mend() {
        let diagnostic = Diagnostic::error(
            place("port     = \"5433\"", 11, 17),
            "`port` must be a whole number from 0 to 65535, not text",
        )
        .with_help("remove the quotes: port = 5433");
        let diagnostics = Diagnostics::new("gateway.d", 14, vec![diagnostic]);
        assert_eq!(
            diagnostics.to_string(),
            "\
error: `port` must be a whole number from 0 to 65535, not text
  gateway.d/orders.toml:7:12
  7 | port     = \"5433\"
    |            ^^^^^^
  help: remove the quotes: port = 5433

1 error in 1 of 14 files
"
        );
        assert!(diagnostics.render(true).contains("\u{1b}["));
        assert_eq!(diagnostics.to_json()[0]["column"], 12);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}here{}", "a".repeat(10_000), "b".repeat(10_000));
        let place = place(&text, 10_000, 10_004);
        let shown: String = place.source.chars().skip(place.caret).take(4).collect();
        assert_eq!(shown, "here");
        assert!(place.source.chars().count() <= MAX_SOURCE_CHARACTERS + 2);
    }

    #[test]
    fn a_terminal_is_not_at_the_mercy_of_a_manifest() {
        let source = place("a = \u{1b}[2J\u{7}", 0, 1).source;
        assert!(!source.contains(char::is_control), "{source:?}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        for line in [
            r#"password = "hunter2""#,
            r#"config = { host = "x", db_password="hunter2", prt = 1 }"#,
            r#"password = { plain = "a\"hunter2" }"#,
            "api_token = 'hunter2",
            r#""secret" = "hunter2" # note"#,
        ] {
            let source = place(line, 0, 1).source;
            assert!(!source.contains("hunter2"), "{source}");
        }
        let kept = r#"password = { env = "ORDERS_PASSWORD" }"#;
        assert_eq!(place(kept, 0, 1).source, kept);
    }
}
