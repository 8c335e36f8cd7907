//! Changes for people at a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::sentence::{Piece, Sentence, places, visible};
use super::{Change, Changes, Class, Mark, Section, Side, Site, TreeName};

/// One heading for each section, two lines for each change, and a summary. ANSI escapes are in it, for a stream that
/// removes them where they do no good.
pub fn text(changes: &Changes, from: &TreeName, to: &TreeName, failed: &[Class]) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    for section in Section::ALL {
        let mut list = changes
            .list
            .iter()
            .filter(|change| change.section() == section)
            .peekable();
        if list.peek().is_none() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{bold}{}{bold:#}", section.title());
        for change in list {
            write_change(&mut text, change, from, to);
        }
        text.push('\n');
    }
    for note in &changes.notes {
        let _ = writeln!(text, "note: {}", visible(note));
    }
    let _ = writeln!(text, "{bold}{}{bold:#}", summary(changes));
    if !failed.is_empty() {
        let red = AnsiColor::Red.on_default().bold();
        let names: Vec<&str> = failed.iter().map(|class| class.name()).collect();
        let _ = writeln!(text, "{red}refused{red:#}: {}", names.join(", "));
    }
    text
}

fn write_change(text: &mut String, change: &Change, from: &TreeName, to: &TreeName) {
    let mark = change.mark();
    let style = match mark {
        Mark::Added => AnsiColor::Green.on_default(),
        Mark::Removed => AnsiColor::Red.on_default(),
        Mark::Changed => AnsiColor::Yellow.on_default(),
    };
    let symbol = mark.symbol();
    let dim = Style::new().dimmed();
    let line = coloured(&change.sentence());
    let names: Vec<&str> = change.classes.iter().map(|class| class.name()).collect();
    let (mut shown, more) = places(&change.sites, |site| place(site, from, to));
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    let _ = writeln!(text, "  {style}{symbol}{style:#} {line}");
    let _ = writeln!(
        text,
        "      {dim}{}  [{}]{dim:#}",
        shown.join(", "),
        names.join(", ")
    );
}

fn coloured(sentence: &Sentence) -> String {
    let bold = Style::new().bold();
    let mut line = String::new();
    for piece in &sentence.0 {
        match piece {
            Piece::Words(words) => line.push_str(words),
            Piece::Name(name) => {
                let _ = write!(line, "{bold}{}{bold:#}", visible(name));
            }
            Piece::Text(text) => {
                let _ = write!(line, "`{}`", visible(text));
            }
        }
    }
    line
}

/// `gateway.d/roles.toml:12:1`, and for what is gone `… (before)`.
pub(super) fn place(site: &Site, from: &TreeName, to: &TreeName) -> String {
    let position = &site.position;
    let (tree, note) = match site.side {
        Side::From => (from, " (before)"),
        Side::To => (to, ""),
    };
    let (line, column) = (position.line, position.column);
    visible(&format!("{}:{line}:{column}{note}", tree.file(position)))
}

/// `3 changes: 1 access-widened, 2 breaking; 4 services kept`
pub(super) fn summary(changes: &Changes) -> String {
    let kept = super::keys::counted(changes.kept.len(), "service");
    if changes.list.is_empty() {
        return format!("no changes; {kept} kept");
    }
    let count = super::keys::counted(changes.list.len(), "change");
    let classes: Vec<String> = changes
        .counts()
        .into_iter()
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    format!("{count}: {}; {kept} kept", classes.join(", "))
}
