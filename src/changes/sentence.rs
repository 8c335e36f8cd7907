//! Sentences in which our words and those of a manifest stay apart, so that each output can make the latter harmless.

use std::fmt::{self, Write as _};

use super::{Change, Site, What};

/// Most members of a list that a sentence names; the JSON has them all.
const MAX_LISTED: usize = 6;

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Our own words.
    Words(String),
    /// A name or a number that needs no quotes to be told apart.
    Name(String),
    /// Any other text of a manifest.
    Text(String),
}

/// A line about one change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sentence(pub(super) Vec<Piece>);

impl Sentence {
    /// One that begins so.
    pub(super) fn of(words: impl Into<String>) -> Self {
        Self::default().words(words)
    }

    /// Adds our own words.
    pub(super) fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Words(words.into()));
        self
    }

    /// Adds a name.
    pub(super) fn name(mut self, name: impl fmt::Display) -> Self {
        self.0.push(Piece::Name(name.to_string()));
        self
    }

    /// Adds a text of a manifest.
    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Text(text.into()));
        self
    }

    /// Adds names with commas between them; of a long list the first ones and how many more there are.
    pub(super) fn names<T: fmt::Display>(self, names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        let shown = if names.len() > MAX_LISTED {
            MAX_LISTED - 1
        } else {
            names.len()
        };
        let mut sentence = self;
        for (index, name) in names.iter().take(shown).enumerate() {
            if index > 0 {
                sentence = sentence.words(", ");
            }
            sentence = sentence.name(name);
        }
        if names.len() > shown {
            sentence = sentence.words(format!(" and {} more", names.len() - shown));
        }
        sentence
    }

    /// Adds what another sentence says.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Without markup, for terminals and programs. Characters that could deceive a reader are written as escapes.
    pub(super) fn plain(&self) -> String {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Words(words) => line.push_str(words),
                Piece::Name(name) => line.push_str(&visible(name)),
                // Writing to a String cannot fail.
                Piece::Text(text) => {
                    let _ = write!(line, "`{}`", visible(text));
                }
            }
        }
        line
    }
}

/// A text in which nothing moves a cursor, turns the direction of writing or cannot be seen.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|character| {
            let deceives = character.is_control()
                || matches!(character,
                    '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
            if deceives {
                character.escape_unicode().to_string()
            } else {
                character.to_string()
            }
        })
        .collect()
}

impl Change {
    /// What it is, in one line.
    pub(super) fn sentence(&self) -> Sentence {
        match &self.what {
            What::Service { name, change } => change.sentence(name),
            What::Key { name, change } => change.sentence(name),
            What::Role { name, change } => change.sentence(name),
            What::Lookup { name, mark } => {
                let what = match mark {
                    super::Mark::Added => " is added",
                    super::Mark::Removed => " is removed",
                    super::Mark::Changed => " has another value",
                };
                Sentence::of("lookup ").name(name).words(what)
            }
            What::Setting {
                name,
                before,
                after,
            } => Sentence::default()
                .name(name)
                .words(": ")
                .name(before)
                .words(" → ")
                .name(after),
            What::Expectation(change) => change.sentence(),
            What::Access(change) => change.sentence(),
            What::Api(change) => change.sentence(),
        }
    }

    /// What it is, in one line without markup.
    pub fn line(&self) -> String {
        self.sentence().plain()
    }
}

/// Most places that a line names; the JSON has them all.
pub(super) const MAX_SITES: usize = 4;

/// The places of a change as people find them, in the form that `file` gives to a place: the first ones and how many more
/// there are.
pub(super) fn places(
    sites: &[Site],
    mut file: impl FnMut(&Site) -> String,
) -> (Vec<String>, usize) {
    let shown = if sites.len() > MAX_SITES {
        MAX_SITES - 1
    } else {
        sites.len()
    };
    let places = sites.iter().take(shown).map(&mut file).collect();
    (places, sites.len() - shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_a_reader_is_written_as_an_escape() {
        assert_eq!(
            visible("a\u{202e}b\u{1b}[2J\n"),
            "a\\u{202e}b\\u{1b}[2J\\u{a}"
        );
        assert_eq!(visible("Zoë 東京"), "Zoë 東京");
    }

    #[test]
    fn a_long_list_ends_in_how_many_more() {
        let line = |count: usize| Sentence::default().names(0..count).plain();
        assert_eq!(line(6), "0, 1, 2, 3, 4, 5");
        assert_eq!(line(9), "0, 1, 2, 3, 4 and 4 more");
    }
}
