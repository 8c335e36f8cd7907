//! Changes for a comment on a pull request: GitHub's and GitLab's Markdown.
//!
//! Nothing that a manifest says can become markup, a link or a mention: all of it stands in code, where only the end of
//! the code has a meaning, and whatever could end it or a cell of a table is written as a character reference.

use std::fmt::Write as _;

use super::sentence::{Piece, Sentence, places, visible};
use super::text::{place, summary};
use super::{Change, Changes, Class, Section, TreeName};

/// Most bytes of the whole text: GitHub takes 65,536 characters in a comment.
pub(super) const MAX_BYTES: usize = 60_000;
/// Most characters of one text of a manifest; the rest is cut.
const MAX_TEXT: usize = 400;

/// A heading with the summary, a table of each section, and the described interface below a line that opens it.
pub fn markdown(changes: &Changes, from: &TreeName, to: &TreeName, refused: &[Class]) -> String {
    let mut text = String::from("### Tidegate plan\n\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} → {}\n", code(&from.source), code(&to.source));
    let _ = writeln!(text, "**{}**\n", summary(changes));
    if !refused.is_empty() {
        let names: Vec<String> = refused.iter().map(|class| code(class.name())).collect();
        let _ = writeln!(text, "**Refused:** {}\n", names.join(", "));
    }
    let mut omitted = 0;
    for section in Section::ALL {
        let list: Vec<&Change> = changes
            .list
            .iter()
            .filter(|change| change.section() == section)
            .collect();
        if list.is_empty() {
            continue;
        }
        let is_folded = section == Section::Api;
        let title = section.title();
        if is_folded {
            let count = super::keys::counted(list.len(), "change");
            let breaking = list
                .iter()
                .filter(|change| change.classes.contains(&Class::Breaking))
                .count();
            let _ = writeln!(
                text,
                "<details>\n<summary>{title}: {count}, {breaking} breaking</summary>\n"
            );
        } else {
            let _ = writeln!(text, "#### {title}\n");
        }
        text.push_str("| | change | class | where |\n|---|---|---|---|\n");
        for change in list {
            let row = row(change, from, to);
            if text.len() + row.len() > MAX_BYTES {
                omitted += 1;
            } else {
                text.push_str(&row);
            }
        }
        text.push_str(if is_folded { "\n</details>\n\n" } else { "\n" });
    }
    if omitted > 0 {
        let count = super::keys::counted(omitted, "change");
        let _ = writeln!(
            text,
            "**{count} left out here for want of room;** `tidegate plan` shows them.\n"
        );
    }
    for note in &changes.notes {
        let _ = writeln!(text, "> {}\n", words(note));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Says of each tree that cannot be compared why not: its title, and its diagnostics as they are written for people.
pub fn markdown_refusal(broken: &[(String, String)]) -> String {
    let mut text = String::from("### Tidegate plan\n");
    for (title, problems) in broken {
        let mut problems: String = problems.lines().map(|line| visible(line) + "\n").collect();
        let room = MAX_BYTES.saturating_sub(text.len() + title.len());
        if problems.len() > room {
            problems.truncate(problems.floor_char_boundary(room));
            problems.push_str("…\n");
        }
        let fence = fence(&problems, 3);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n**{}**\n\n{fence}text\n{problems}{fence}\n",
            words(title)
        );
    }
    text
}

/// As many backticks as nothing in a text can end, and at least so many.
fn fence(text: &str, least: usize) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max();
    "`".repeat((longest.unwrap_or(0) + 1).max(least))
}

fn row(change: &Change, from: &TreeName, to: &TreeName) -> String {
    let classes: Vec<String> = change
        .classes
        .iter()
        .map(|class| match class {
            Class::AccessWidened | Class::Breaking => format!("**{class}**"),
            class => class.to_string(),
        })
        .collect();
    let (mut shown, more) = places(&change.sites, |site| code(&place(site, from, to)));
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    format!(
        "| {} | {} | {} | {} |\n",
        code(change.mark().symbol()),
        marked_up(&change.sentence()),
        classes.join("<br>"),
        shown.join("<br>"),
    )
}

fn marked_up(sentence: &Sentence) -> String {
    let mut line = String::new();
    for piece in &sentence.0 {
        match piece {
            Piece::Words(text) => line.push_str(&words(text)),
            Piece::Name(text) | Piece::Text(text) => line.push_str(&code(text)),
        }
    }
    line
}

/// Any text as code.
fn code(text: &str) -> String {
    let mut text = visible(text);
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    // A bar ends the cell of a table even within code, and what a backslash before it does differs between parsers.
    let is_plain = !text.contains(['|', '\\'])
        && !text.starts_with([' ', '`'])
        && !text.ends_with([' ', '`'])
        && !text.is_empty();
    if is_plain {
        // Code ends where as many backticks stand together as at its beginning (`CommonMark` 6.1).
        let fence = fence(&text, 1);
        format!("{fence}{text}{fence}")
    } else {
        let text = references(&text, |_| false);
        format!("<code>{text}</code>")
    }
}

/// Words as themselves.
fn words(text: &str) -> String {
    references(text, |character| " ,;:.()/-\"'→".contains(character))
}

/// A text in which all but letters, digits and what is harmless are character references, which never are markup
/// (`CommonMark` 2.5).
fn references(text: &str, is_harmless: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_alphanumeric() || is_harmless(character) {
            safe.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(safe, "&#{};", u32::from(character));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::{ServiceChange, What};
    use super::*;
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    fn name(source: &str) -> TreeName {
        TreeName {
            source: source.to_owned(),
            label: String::new(),
            digest: String::new(),
            commit: None,
        }
    }

    fn labels(texts: &[String]) -> Changes {
        let list = texts.iter().map(|text| Change {
            what: What::Service {
                name: "shop".parse().unwrap(),
                change: ServiceChange::Label {
                    before: text.clone(),
                    after: "after".to_owned(),
                },
            },
            classes: [Class::ServiceChanged].into(),
            sites: Vec::new(),
        });
        Changes {
            list: list.collect(),
            ..Changes::default()
        }
    }

    /// The cells of the first table, each with its code; panics when there is anything but text, code and tables.
    fn cells(text: &str) -> Vec<Vec<String>> {
        let mut cells: Vec<Vec<String>> = Vec::new();
        let mut html_code: Option<String> = None;
        for event in Parser::new_ext(text, Options::all()) {
            match event {
                Event::Start(Tag::TableCell) => cells.push(Vec::new()),
                Event::Code(code) => {
                    if let Some(cell) = cells.last_mut() {
                        cell.push(code.into_string());
                    }
                }
                Event::InlineHtml(html) => match html.as_ref() {
                    "<br>" => {}
                    "<code>" => html_code = Some(String::new()),
                    "</code>" => {
                        let code = html_code.take().unwrap();
                        if let Some(cell) = cells.last_mut() {
                            cell.push(code);
                        }
                    }
                    other => panic!("{other} in\n{text}"),
                },
                Event::Text(part) => {
                    if let Some(code) = &mut html_code {
                        code.push_str(&part);
                    }
                }
                Event::Start(
                    Tag::Paragraph
                    | Tag::Heading { .. }
                    | Tag::Strong
                    | Tag::Table(_)
                    | Tag::TableHead
                    | Tag::TableRow,
                )
                | Event::End(
                    TagEnd::Paragraph
                    | TagEnd::Heading(_)
                    | TagEnd::Strong
                    | TagEnd::Table
                    | TagEnd::TableHead
                    | TagEnd::TableRow
                    | TagEnd::TableCell,
                ) => {}
                other => panic!("{other:?} in\n{text}"),
            }
        }
        cells
    }

    /// Four cells of a heading, then four of each row; the label stands in the second one, after the service.
    fn stays_code(text: &str) {
        let changes = labels(&[text.to_owned()]);
        let shown = markdown(&changes, &name(text), &name(text), &[]);
        let cells = cells(&shown);
        assert_eq!(cells.len(), 8, "{shown}");
        let mut expected = visible(text);
        if let Some((end, _)) = expected.char_indices().nth(MAX_TEXT) {
            expected.truncate(end);
            expected.push('…');
        }
        assert_eq!(cells[5], ["shop".to_owned(), expected, "after".to_owned()]);
    }

    #[test]
    fn nothing_that_a_manifest_says_becomes_markup() {
        for text in [
            "",
            " ",
            "`",
            "`` a ` b ``",
            "a|b",
            "a\\|b",
            "\\",
            "`a`|`b`",
            "</code><img src=x onerror=alert(1)>",
            "</td></tr></table><script>alert(1)</script>",
            "[a](https://example.org)",
            "![a](https://example.org/a.png)",
            "https://example.org www.example.org ann@example.org @ann #1",
            "**bold** _it_ ~~no~~ $x$ :smile: &amp; &#124; <!-- -->",
            "\n\n# heading\n\n- list\n\n```\ncode",
            "\u{202e}desrever",
            "<https://example.org>",
        ] {
            stays_code(text);
        }
    }

    proptest! {
        #[test]
        fn no_text_at_all_becomes_markup(text in "[`|\\\\<>&*_\\[\\]()!#~$a\n\r -]{0,30}|\\PC{0,40}") {
            stays_code(&text);
        }
    }

    #[test]
    fn a_comment_is_never_longer_than_a_code_host_takes() {
        let many = vec!["|".repeat(300); 400];
        let text = markdown(&labels(&many), &name("a"), &name("b"), &[]);
        assert!(text.len() < 65_536, "{}", text.len());
        assert!(text.contains("changes left out here"), "{text}");
        // Diagnostics cut their lines.
        let long = format!("{}\n", "`".repeat(160)).repeat(1_000);
        let broken = [
            ("FROM a".to_owned(), long.clone()),
            ("TO b".to_owned(), long),
        ];
        let text = markdown_refusal(&broken);
        assert!(text.len() < 65_536, "{}", text.len());
    }

    #[test]
    fn diagnostics_stay_in_their_block() {
        let text = markdown_refusal(&[(
            "TO `a` <b> would be refused".to_owned(),
            "error: x\n````\n# heading\n<script>".to_owned(),
        )]);
        let mut blocks = 0;
        for event in Parser::new_ext(&text, Options::all()) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => blocks += 1,
                Event::Html(html) | Event::InlineHtml(html) => panic!("{html} in\n{text}"),
                Event::Start(Tag::Heading { level, .. }) => assert_eq!(level as usize, 3, "{text}"),
                _ => {}
            }
        }
        assert_eq!(blocks, 1, "{text}");
    }
}
