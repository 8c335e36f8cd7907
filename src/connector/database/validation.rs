//! Rules of a manifest for the values that records have (reference 6.4). Pure.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::catalog::Column;
use super::convert;
use super::table_options::{ColumnOptions, IGNORE_FIELD, IntegerRange, MultiplePicks, OnFail};
use super::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// Most bytes of the program that a regular expression is compiled to.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;

/// Longest email address (RFC 5321 section 4.5.3.1.3, as corrected by RFC 3696 erratum 1690).
const MAX_EMAIL_BYTES: usize = 254;

/// Longest part of an email address before the `@` (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// Longest label of a domain (RFC 1035 section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// What a value must be like, and what happens when it is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// What happens when it is broken.
    pub failure: Failure,
}

/// What happens when a rule is broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    /// The record is refused, with the rule's own words.
    #[default]
    Refuse,
    /// The record is refused, with these words.
    Say(String),
    /// The value is dropped.
    Drop,
}

/// What a value must be like.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Not null.
    NotNull,
    /// Neither null nor an empty text, list or object.
    NotEmpty,
    /// Neither null nor zero.
    NotZero,
    /// An email address.
    Email,
    /// An absolute URL.
    Url,
    /// A whole number within bounds.
    Int(IntegerRange),
    /// A number.
    Float,
    /// A truth value.
    Boolean,
    /// Matched by an expression.
    Match(Expression),
    /// One of the column's picklist.
    Picklist,
    /// Some of the column's picklist.
    MultiPicklist(MultiplePicks),
}

/// A regular expression; two with one text are equal. It runs in time that grows with the value alone.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// As the manifest has it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Compiles a regular expression, or says in one line what is wrong with it.
pub fn expression(pattern: &str) -> std::result::Result<Expression, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_EXPRESSION_BYTES)
        .build()
        .map(Expression)
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line says what is wrong; those before it draw the place.
            error => {
                let text = error.to_string();
                let line = text.lines().last().unwrap_or_default().trim();
                line.strip_prefix("error: ").unwrap_or(line).to_owned()
            }
        })
}

impl Failure {
    /// What `on_fail` says of a rule.
    pub fn of(text: Option<&String>) -> Self {
        match text {
            None => Self::Refuse,
            Some(text) if text == IGNORE_FIELD => Self::Drop,
            Some(text) => Self::Say(text.clone()),
        }
    }

    /// Refuses a value in these words or its own; false if the value is to be dropped instead.
    pub(super) fn refuse(&self, column: &Column, words: impl Into<String>) -> Result<bool> {
        let name = &column.name;
        match self {
            Self::Drop => Ok(false),
            Self::Refuse => Err(Error::new(
                ErrorKind::InvalidValue,
                format!("field '{name}' {}", words.into()),
            )),
            Self::Say(text) => Err(Error::new(ErrorKind::InvalidValue, text.clone())
                .with_help(format!("this is about field '{name}'"))),
        }
    }

    fn described(&self) -> Value {
        match self {
            Self::Refuse => Value::Null,
            Self::Say(text) => json!({ "on_fail": text }),
            Self::Drop => json!({ "on_fail": IGNORE_FIELD }),
        }
    }
}

impl Rule {
    /// Its name in manifests and descriptions.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::NotEmpty => "not_empty",
            Self::NotZero => "not_zero",
            Self::Email => "email",
            Self::Url => "url",
            Self::Int(_) => "int",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Match(_) => "match",
            Self::Picklist => "picklist",
            Self::MultiPicklist(_) => "multi_picklist",
        }
    }

    /// Whether a record that is created must have the field.
    pub const fn needs_value(&self) -> bool {
        matches!(self, Self::NotNull | Self::NotEmpty | Self::NotZero)
    }

    /// Whether it says of what kind the value is.
    const fn is_of_kind(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Float | Self::Boolean)
    }

    /// What it says to whoever breaks it.
    const fn words(&self) -> &'static str {
        match self {
            Self::NotNull => "can not be null",
            Self::NotEmpty | Self::NotZero => "can not be empty",
            Self::Email => "must be a valid email address",
            Self::Url => "must be a valid URL",
            Self::Int(_) => "is not a whole number in the valid range",
            Self::Float => "is not an acceptable number",
            Self::Boolean => "is not an acceptable truth value",
            Self::Match(_) | Self::Picklist | Self::MultiPicklist(_) => "is invalid",
        }
    }

    /// Nothing if a value follows the rule, or else what to say.
    fn broken_by(&self, value: &Scalar, picklist: &[String]) -> Result<Option<&'static str>> {
        let text = text_of(value)?;
        let is_empty = match value {
            Scalar::Null => true,
            Scalar::Json(text) => matches!(text.trim(), "\"\"" | "[]" | "{}" | "null"),
            Scalar::Array(values) => values.is_empty(),
            Scalar::Bytes(bytes) => bytes.is_empty(),
            _ => text.is_empty(),
        };
        let is_zero = || match value {
            Scalar::Bool(value) => !value,
            _ => text.parse::<f64>().is_ok_and(|number| number == 0.0),
        };
        let holds = match self {
            Self::NotNull => *value != Scalar::Null,
            Self::NotEmpty => !is_empty,
            Self::NotZero => !is_empty && !is_zero(),
            _ if is_empty => true,
            Self::Email => is_email(&text),
            Self::Url => is_url(&text),
            Self::Int(range) => text.trim().parse::<i64>().is_ok_and(|number| {
                range.min.is_none_or(|min| number >= min)
                    && range.max.is_none_or(|max| number <= max)
            }),
            Self::Float => text.trim().parse::<f64>().is_ok_and(f64::is_finite),
            Self::Boolean => ["true", "false", "1", "0", "yes", "no", "on", "off"]
                .iter()
                .any(|word| text.trim().eq_ignore_ascii_case(word)),
            Self::Match(expression) => expression.0.is_match(&text),
            Self::Picklist => picklist.contains(&text),
            Self::MultiPicklist(picks) => return picked(value, &text, picks, picklist),
        };
        Ok((!holds).then(|| self.words()))
    }

    fn described(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::Int(range) if *range != IntegerRange::default() => {
                let mut bounds = Map::new();
                if let Some(min) = range.min {
                    bounds.insert("min".into(), json!(min));
                }
                if let Some(max) = range.max {
                    bounds.insert("max".into(), json!(max));
                }
                Some(("range", Value::Object(bounds)))
            }
            Self::Match(expression) => Some(("regexp", json!(expression.0.as_str()))),
            _ => None,
        }
    }
}

/// The rules of a column. A regular expression that cannot be compiled was refused with the manifest.
pub(super) fn checks(options: &ColumnOptions) -> Vec<Check> {
    let (rules, texts): (_, &OnFail) = (&options.validation, &options.on_fail);
    let expression = rules.r#match.as_deref().map(expression);
    let all = [
        (rules.not_null.then_some(Rule::NotNull), &texts.not_null),
        (rules.not_empty.then_some(Rule::NotEmpty), &texts.not_empty),
        (rules.not_zero.then_some(Rule::NotZero), &texts.not_zero),
        (rules.email.then_some(Rule::Email), &texts.email),
        (rules.url.then_some(Rule::Url), &texts.url),
        (rules.int.clone().map(Rule::Int), &texts.int),
        (rules.float.then_some(Rule::Float), &texts.float),
        (rules.boolean.then_some(Rule::Boolean), &texts.boolean),
        (
            expression
                .and_then(std::result::Result::ok)
                .map(Rule::Match),
            &texts.r#match,
        ),
        (rules.picklist.then_some(Rule::Picklist), &texts.picklist),
        (
            rules.multi_picklist.clone().map(Rule::MultiPicklist),
            &texts.multi_picklist,
        ),
    ];
    all.into_iter()
        .filter_map(|(rule, text)| {
            Some(Check {
                rule: rule?,
                failure: Failure::of(text.as_ref()),
            })
        })
        .collect()
}

/// Holds a value against the rules of its column. False if the value is to be dropped.
pub(super) fn admits(column: &Column, value: &Scalar) -> Result<bool> {
    let Some(settings) = &column.settings else {
        return Ok(true);
    };
    for check in &settings.checks {
        if let Some(words) = check.rule.broken_by(value, &settings.picklist)?
            && !check.failure.refuse(column, format!("value {words}"))?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a value that the column cannot hold, in the words of the rule for its kind if it has any; nothing if that
/// rule has it dropped.
pub(super) fn refused(column: &Column, error: Error) -> Result<()> {
    let checks = column.settings.iter().flat_map(|settings| &settings.checks);
    let mut of_kind = checks.filter(|check| check.rule.is_of_kind());
    match of_kind.find(|check| check.failure != Failure::Refuse) {
        None => Err(error),
        Some(check) => check.failure.refuse(column, check.rule.words()).map(drop),
    }
}

/// Holds a field that a new record does not have against the rules of its column.
pub(super) fn admits_absence(column: &Column) -> Result<()> {
    let checks = column.settings.iter().flat_map(|settings| &settings.checks);
    for check in checks.filter(|check| check.rule.needs_value()) {
        check
            .failure
            .refuse(column, format!("value {}", check.rule.words()))?;
    }
    Ok(())
}

/// The rules of a column as descriptions have them; null without any.
pub(super) fn described(column: &Column) -> Value {
    let Some(settings) = &column.settings else {
        return Value::Null;
    };
    let mut rules = Map::new();
    for (name, failure) in [
        ("api_read_only", &settings.read_only),
        ("create_only", &settings.create_only),
    ] {
        if let Some(failure) = failure {
            rules.insert(name.into(), failure.described());
        }
    }
    for check in &settings.checks {
        let mut described = check.failure.described();
        let mut add = |key: &str, value: Value| {
            if !described.is_object() {
                described = Value::Object(Map::new());
            }
            if let Value::Object(object) = &mut described {
                object.insert(key.to_owned(), value);
            }
        };
        if let Some((key, value)) = check.rule.described() {
            add(key, value);
        }
        if let Rule::MultiPicklist(picks) = &check.rule {
            add("delimiter", json!(picks.delimiter));
            add("min", json!(picks.min));
            if let Some(max) = picks.max {
                add("max", json!(max));
            }
        }
        rules.insert(check.rule.name().into(), described);
    }
    if rules.is_empty() {
        Value::Null
    } else {
        Value::Object(rules)
    }
}

/// A value as text: what stands between the quotes where JSON would have them.
fn text_of(value: &Scalar) -> Result<String> {
    match value {
        Scalar::Null => Ok(String::new()),
        Scalar::Text(text) | Scalar::Temporal(text) | Scalar::Decimal(text) => Ok(text.clone()),
        value => {
            let json = convert::to_json(value)?;
            Ok(
                serde_json::from_str::<String>(json.get())
                    .unwrap_or_else(|_| json.get().to_owned()),
            )
        }
    }
}

fn picked(
    value: &Scalar,
    text: &str,
    picks: &MultiplePicks,
    picklist: &[String],
) -> Result<Option<&'static str>> {
    let chosen: Vec<String> = match value {
        Scalar::Array(values) => values.iter().map(text_of).collect::<Result<_>>()?,
        _ => text
            .split(picks.delimiter.as_str())
            .map(|pick| pick.trim().to_owned())
            .collect(),
    };
    let count = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    Ok(if count < picks.min {
        Some("does not contain enough selections")
    } else if picks.max.is_some_and(|max| count > max) {
        Some("contains too many selections")
    } else if chosen.iter().all(|pick| picklist.contains(pick)) {
        None
    } else {
        Some("is invalid")
    })
}

/// A mailbox without quotes and comments, at a domain with a dot in it.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_atom = |part: &str| {
        !part.is_empty()
            && part.chars().all(|character| {
                character.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character)
            })
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_BYTES
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|character| character.is_alphanumeric() || character == '-')
    };
    text.len() <= MAX_EMAIL_BYTES
        && local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(is_atom)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

/// A scheme, a host and whatever follows.
fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rule: &Rule, value: &Scalar) -> bool {
        let picklist = ["a".to_owned(), "b".to_owned(), "3".to_owned()];
        rule.broken_by(value, &picklist).unwrap().is_none()
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    #[test]
    fn addresses_are_told_from_what_only_looks_like_one() {
        for good in [
            "",
            "ann@example.org",
            "a.b+c@sub.example.org",
            "o'dahl@example.org",
            "jörg@bücher.example",
        ] {
            assert!(rule(&Rule::Email, &text(good)), "{good}");
        }
        for bad in [
            "ann",
            "ann@",
            "@example.org",
            "ann@localhost",
            "a b@example.org",
            "a@b@example.org",
            ".a@example.org",
            "a..b@example.org",
            "a@-example.org",
            "a@example..org",
            "a@example.org\n",
        ] {
            assert!(!rule(&Rule::Email, &text(bad)), "{bad}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        assert!(!rule(&Rule::Email, &text(&long)));
        for good in [
            "https://example.org",
            "ftp://host/a?b=c",
            "http://[::1]:8080/",
        ] {
            assert!(rule(&Rule::Url, &text(good)), "{good}");
        }
        for bad in ["example.org", "/path", "http://", "https://a b", "nothing"] {
            assert!(!rule(&Rule::Url, &text(bad)), "{bad}");
        }
    }

    #[test]
    fn numbers_zero_and_false_are_values() {
        assert!(rule(&Rule::Float, &Scalar::Int(0)));
        assert!(rule(&Rule::Float, &text("-1.5e3")));
        assert!(!rule(&Rule::Float, &text("NaN")));
        assert!(rule(&Rule::Boolean, &Scalar::Bool(false)));
        assert!(rule(&Rule::Boolean, &text("No")));
        assert!(!rule(&Rule::Boolean, &text("perhaps")));
        let range = Rule::Int(IntegerRange {
            min: Some(1),
            max: Some(10),
        });
        assert!(rule(&range, &Scalar::Int(10)));
        assert!(!rule(&range, &Scalar::Int(11)));
        assert!(!rule(&range, &text("1.5")));
        assert!(!rule(&Rule::NotZero, &Scalar::Decimal("0.00".to_owned())));
        assert!(!rule(&Rule::NotZero, &Scalar::Null));
        assert!(rule(&Rule::NotZero, &Scalar::Int(-1)));
    }

    #[test]
    fn empty_is_what_holds_nothing() {
        for empty in [
            Scalar::Null,
            text(""),
            Scalar::Json("[]".to_owned()),
            Scalar::Array(Vec::new()),
        ] {
            assert!(!rule(&Rule::NotEmpty, &empty), "{empty:?}");
        }
        assert!(rule(&Rule::NotEmpty, &Scalar::Int(0)));
        assert!(rule(&Rule::NotNull, &text("")));
    }

    #[test]
    fn picks_come_from_the_list_and_are_counted() {
        assert!(rule(&Rule::Picklist, &text("a")));
        assert!(rule(&Rule::Picklist, &Scalar::Int(3)));
        assert!(!rule(&Rule::Picklist, &text("A")));
        let picks = |min, max| {
            Rule::MultiPicklist(MultiplePicks {
                delimiter: ",".to_owned(),
                min,
                max,
            })
        };
        assert!(rule(&picks(1, Some(2)), &text("a, b")));
        assert!(!rule(&picks(3, None), &text("a,b")));
        assert!(!rule(&picks(1, Some(1)), &text("a,b")));
        assert!(!rule(&picks(1, None), &text("a,c")));
    }

    #[test]
    fn an_expression_that_cannot_be_read_says_why_in_one_line() {
        assert_eq!(expression("(a").unwrap_err(), "unclosed group");
        assert_eq!(expression("a{9999}{9999}").unwrap_err(), "it is too large");
        assert!(rule(
            &Rule::Match(expression("^[a-z]+$").unwrap()),
            &text("abc")
        ));
        assert!(!rule(
            &Rule::Match(expression("^[a-z]+$").unwrap()),
            &text("ab1")
        ));
    }
}
