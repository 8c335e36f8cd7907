//! What is said of two trees agrees with what the trees grant, for any two trees; and what means the same is no change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::auth::role::Requester;
use crate::connector::access::{Decision, Grant, Lookups, Pattern, Verbs};
use crate::connector::filter::{Comparison, Filter, Operand};
use crate::manifest::secrets::Placeholders;
use crate::snapshot::assemble::application;
use crate::tree::{Provenance, Tree};

fn candidate(files: &[(String, String)]) -> Candidate {
    let bytes = files
        .iter()
        .map(|(name, text)| (name.clone(), text.as_bytes().to_vec()));
    let tree = Tree::new("", bytes, Provenance::default());
    Candidate::of(tree, &Placeholders).unwrap_or_else(|problems| {
        let texts: String = files.iter().map(|(_, text)| text.as_str()).collect();
        panic!("{texts}\n{problems}")
    })
}

fn one(text: &str) -> Candidate {
    candidate(&[("a.toml".to_owned(), text.to_owned())])
}

fn compared(from: &str, to: &str) -> Changes {
    compare(&one(from), &one(to), &Tables::default())
}

/// The lines of all changes, each with its mark, its places and its classes.
fn lines(from: &str, to: &str) -> Vec<String> {
    let name = |source: &str| TreeName {
        source: source.to_owned(),
        label: String::new(),
        digest: String::new(),
        commit: None,
    };
    let (from_name, to_name) = (name("from"), name("to"));
    let lines = compared(from, to).list.into_iter().map(|change| {
        let places: Vec<String> = change
            .sites
            .iter()
            .map(|site| text::place(site, &from_name, &to_name))
            .collect();
        let classes: Vec<&str> = change.classes.iter().map(|class| class.name()).collect();
        format!(
            "{} {} @ {} [{}]",
            change.mark().symbol(),
            change.line(),
            places.join(", ").replace("a.toml:", ""),
            classes.join(", ")
        )
    });
    lines.collect()
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A service, a key and a role whose rows are these.
fn tree(rows: &[&str]) -> String {
    let mut text = format!(
        "[service.shop]\ntype = \"sqlite\"\nconfig = {{ database = \"shop.db\" }}\n\
         [key.demo]\nrole = \"reader\"\nsha256 = [\"{}\"]\n[role.reader]\n",
        digest("demo")
    );
    for row in rows {
        writeln!(text, "[[role.reader.access]]\nservice = \"shop\"\n{row}").unwrap();
    }
    text
}

fn row(component: &str, verbs: &str, more: &str) -> String {
    let verbs: Vec<String> = verbs.split(' ').map(|verb| format!("\"{verb}\"")).collect();
    format!(
        "component = \"{component}\"\nverbs = [{}]\n{more}",
        verbs.join(", ")
    )
}

#[test]
fn a_row_gives_just_what_the_more_specific_rows_leave_it() {
    let before = tree(&[
        &row("_table/vault/*", "GET", "deny = true"),
        &row("_table/vault/open", "GET", ""),
    ]);
    let after = tree(&[
        &row("_table/vault/*", "GET", "deny = true"),
        &row("_table/vault/open", "GET", ""),
        &row("_table/*", "GET", ""),
    ]);
    assert_eq!(
        lines(&before, &after),
        [
            "+ key demo (role reader) gains GET on shop/_table/* except _table/vault/* (a row is added) @ 18:1 [access-widened]",
            "~ role reader: 1 row added @ 18:1 [role-changed]",
            "+ key demo (role reader): new: GET shop/_table, GET shop/_table/{table}, GET shop/_table/{table}/{id} @ 18:1 [api-changed]",
        ]
    );
    assert_eq!(
        lines(&after, &before),
        [
            "- key demo (role reader) loses GET on shop/_table/* except _table/vault/* (a row is removed) @ 18:1 (before) [access-narrowed, breaking]",
            "~ role reader: 1 row removed @ 18:1 (before) [role-changed]",
            "- key demo (role reader): no longer there: GET shop/_table, GET shop/_table/{table}, GET shop/_table/{table}/{id} @ 18:1 (before) [breaking]",
        ]
    );
}

#[test]
fn conditions_say_in_which_direction_they_go() {
    let with = |condition: &str| tree(&[&row("_table/*", "GET", condition)]);
    let first = |before: &str, after: &str| lines(&with(before), &with(after)).remove(0);
    let filter = "filter = \"a = 1\"";
    let fields = "fields = [\"a\", \"b\"]";
    assert_eq!(
        first("", filter),
        "~ key demo (role reader) keeps GET on shop/_table/*, for fewer records: only those where `a = 1` (a row is changed) @ 8:1 [access-narrowed]"
    );
    assert_eq!(
        first(filter, ""),
        "~ key demo (role reader) keeps GET on shop/_table/*, for more records: no longer only those where `a = 1` (a row is changed) @ 8:1 [access-widened]"
    );
    assert_eq!(
        first(filter, "filter = \"a = 2\""),
        "~ key demo (role reader) keeps GET on shop/_table/*, for other records: `a = 1` → `a = 2` (a row is changed) @ 8:1 [access-widened, access-narrowed]"
    );
    assert_eq!(
        first("", fields),
        "~ key demo (role reader) keeps GET on shop/_table/*, with fewer columns: only a, b (a row is changed) @ 8:1 [access-narrowed, breaking]"
    );
    assert_eq!(
        first(fields, "fields = [\"a\", \"c\"]"),
        "~ key demo (role reader) keeps GET on shop/_table/*, with other columns: also c, no longer b (a row is changed) @ 8:1 [access-widened, access-narrowed, breaking]"
    );
    assert_eq!(
        first(fields, "fields = [\"a\", \"b\", \"c\"]"),
        "~ key demo (role reader) keeps GET on shop/_table/*, with other columns: also c (a row is changed) @ 8:1 [access-widened]"
    );
}

#[test]
fn secrets_are_compared_by_their_references_and_never_shown() {
    let with = |password: &str| {
        format!(
            "[service.shop]\ntype = \"pgsql\"\n[service.shop.config]\nhost = \"h\"\ndatabase = \"d\"\nusername = \"u\"\n{password}"
        )
    };
    let said = |before: &str, after: &str| lines(&with(before), &with(after)).join("\n");
    let env = "password = { env = \"A\" }";
    let plain = "password = { plain = \"hunter2\" }";
    for (before, after, expected) in [
        (
            env,
            "password = { env = \"B\" }",
            "password refers to another secret @ 7:1",
        ),
        (
            env,
            "password = { file = \"/run/b\" }",
            "password refers to another secret @ 7:1",
        ),
        (
            plain,
            "password = { plain = \"hunter3\" }",
            "password is another text, written in the tree @ 7:1",
        ),
        (
            env,
            plain,
            "password was a reference and is written in the tree now @ 7:1",
        ),
        (
            plain,
            env,
            "password was written in the tree and is a reference now @ 7:1",
        ),
        (
            "",
            env,
            "password is a secret that was not there before @ 7:1",
        ),
        (env, "", "password is gone @ 7:1 (before)"),
        (
            env,
            "password = { env = \"A\" }\nport = 5432 # the default",
            "",
        ),
        (
            env,
            "password = { env = \"A\" }\nport = 5433",
            "port differs @ 8:1",
        ),
        (
            "port = 5432\nmax_records = 5",
            "max_records = 6",
            "max_records differs @ 7:1",
        ),
    ] {
        let said = said(before, after);
        assert!(!said.contains("hunter"), "{said}");
        if expected.is_empty() {
            assert_eq!(said, "", "{before} → {after}");
        } else {
            let classes = if expected.contains(" differs") {
                "service-reopened, access-widened, breaking"
            } else {
                "service-reopened"
            };
            let start = format!("~ service shop is opened anew: {expected} [");
            let listed = said
                .strip_prefix(&start)
                .unwrap_or_else(|| panic!("{said}"));
            let mut listed: Vec<&str> = listed.trim_end_matches(']').split(", ").collect();
            let mut expected: Vec<&str> = classes.split(", ").collect();
            listed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{before} → {after}");
        }
    }
}

#[test]
fn what_is_said_of_tables_is_compared_key_by_key() {
    let with = |tables: &str| {
        format!(
            "[service.shop]\ntype = \"sqlite\"\n[service.shop.config]\ndatabase = \"a.db\"\n{tables}"
        )
    };
    let column = |rest: &str| {
        with(&format!(
            "[service.shop.config.table.person.column.salary]\n{rest}"
        ))
    };
    let open = "[access-widened, breaking, service-reopened]";
    for (before, after, expected) in [
        (
            column("hidden = true"),
            column("hidden = false"),
            format!("table.person.column.salary.hidden differs @ 6:1 {open}"),
        ),
        (
            column("hidden = true\nlabel = \"Pay\""),
            with(""),
            format!(
                "table.person.column.salary.hidden differs, table.person.column.salary.label differs @ 6:1 (before), 7:1 (before) {open}"
            ),
        ),
        (
            column("read_only = true\nlabel = \"Pay\""),
            column("label = \"Pay\""),
            format!("table.person.column.salary.read_only differs @ 6:1 (before) {open}"),
        ),
        (
            column("label = \"Pay\""),
            column("label = \"Salary\""),
            "table.person.column.salary.label differs @ 6:1 [service-reopened]".to_owned(),
        ),
        (
            with("[service.shop.config.table.person]\nhidden = true"),
            with("[service.shop.config.table.person]\ndescription = \"Who works here\""),
            format!(
                "table.person.description differs, table.person.hidden differs @ 6:1, 6:1 (before) {open}"
            ),
        ),
    ] {
        let said = lines(&before, &after).join("\n");
        assert_eq!(said, format!("~ service shop is opened anew: {expected}"));
    }
}

#[test]
fn who_holds_a_digest_is_followed_from_key_to_key() {
    let role = "[role.reader]\n[[role.reader.access]]\nservice = \"*\"\ncomponent = \"*\"\nverbs = [\"GET\"]\n\
        [role.none]\n[service.shop]\ntype = \"sqlite\"\nconfig = { database = \"a.db\" }\n";
    let key = |name: &str, role: &str, digests: &[&str]| {
        let digests: Vec<String> = digests
            .iter()
            .map(|text| format!("\"{}\"", digest(text)))
            .collect();
        format!(
            "[key.{name}]\nrole = \"{role}\"\nsha256 = [{}]\n",
            digests.join(", ")
        )
    };
    let before = format!("{role}{}", key("old", "reader", &["1"]));
    let renamed = format!("{role}{}", key("new", "reader", &["1"]));
    assert_eq!(
        lines(&before, &renamed),
        ["~ key new was called old @ 10:1 [key-changed]"]
    );
    let demoted = format!("{role}{}", key("new", "none", &["1"]));
    let said = lines(&before, &demoted);
    assert_eq!(
        said[0],
        "- key old → new (role reader → none) loses GET on shop/* (the key has another role) @ 11:1, 2:1 (before) [access-narrowed, breaking]"
    );
    let two = format!(
        "{role}{}{}",
        key("a", "none", &["1"]),
        key("b", "reader", &["2"])
    );
    let moved = format!(
        "{role}{}{}",
        key("a", "none", &["3"]),
        key("b", "reader", &["2", "1"])
    );
    let said = lines(&two, &moved);
    assert!(
        said.contains(&"+ key a → b (role none → reader) gains GET on shop/* (the digest belongs to another key) @ 15:1, 2:1 [access-widened]".to_owned()),
        "{said:#?}"
    );
    assert!(
        said.contains(&"~ key b: 1 of its digests belonged to key a; who holds them is this application now @ 15:1, 12:1 (before) [key-changed, credentials-changed]".to_owned()),
        "{said:#?}"
    );
}

#[test]
fn every_class_and_every_rule_has_a_name_of_its_own() {
    let classes: BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(classes.len(), Class::ALL.len());
    for class in Class::ALL {
        assert_eq!(class.name().parse(), Ok(class));
    }
    let error = "widened".parse::<Class>().unwrap_err().to_string();
    assert!(error.contains("access-widened, access-narrowed"), "{error}");
    let rules: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(rules.len(), Rule::ALL.len());
}

// ---- any two trees ----

const SERVICES: [&str; 3] = ["a", "b", "c"];
const ROLES: [&str; 2] = ["r", "s"];
const KEYS: [&str; 3] = ["k", "l", "m"];
const PATTERNS: [&str; 13] = [
    "*",
    "",
    "_table",
    "_table/*",
    "_table/x",
    "_table/x/*",
    "_table/x-y/*",
    "_table/x*",
    "_table/X/*",
    "_table/xY",
    "_table/x/1",
    "_schema/*",
    "_schema*",
];
const COMPONENTS: [&str; 21] = [
    "",
    "_table",
    "_TABLE",
    "_table/x",
    "_table/X",
    "_table/x/1",
    "_table/X/1",
    "_table/x/2",
    "_table/X/2",
    "_table/xy",
    "_table/xY",
    "_table/Xy",
    "_table/xY/1",
    "_table/x-y",
    "_table/x-y/3",
    "_table/q",
    "_TABLE/x/1",
    "_schema",
    "_schema/x",
    "_schemata",
    "other",
];
/// Each with another way to write the same.
const FILTERS: [[&str; 2]; 9] = [
    ["o = 1", "(o=1)"],
    ["o = 1 AND p = 2", "p=2 and o = 1"],
    ["o IN (1, 2)", "o in (2,1)"],
    ["o = 1 OR p = 2", "p = 2 || (o = 1)"],
    ["NOT (o = 1)", "not o = 1"],
    ["r = {lookup.r}", "r EQ {lookup.r}"],
    ["r = 'north'", "r = \"north\""],
    ["r = {key.name}", "r = {key.name}"],
    ["r = {lookup.r} AND o = 1", "o = 1 AND r = {lookup.r}"],
];
const FIELDS: [&[&str]; 3] = [&["o"], &["o", "p"], &["r"]];
const REGIONS: [&str; 4] = ["north", "south", "k", ""];

#[derive(Clone, Debug, PartialEq)]
struct ModelRow {
    allows: BTreeSet<u8>,
    denies: BTreeSet<u8>,
    filter: Option<usize>,
    fields: Option<usize>,
    for_scripts: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelService {
    active: bool,
    database: u8,
    records: Option<u8>,
    described: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelRole {
    active: bool,
    described: bool,
    /// By service (none for all) and pattern.
    rows: BTreeMap<(Option<usize>, usize), ModelRow>,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelKey {
    active: bool,
    role: Option<usize>,
    digests: BTreeSet<u8>,
    region: Option<usize>,
    expires: bool,
    allow_query: bool,
}

/// What a tree means.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    services: BTreeMap<usize, ModelService>,
    roles: Vec<ModelRole>,
    keys: BTreeMap<usize, ModelKey>,
    region: usize,
    body: u8,
}

fn model_row() -> impl Strategy<Value = ModelRow> {
    let verbs = || prop::collection::btree_set(0..3_u8, 0..3);
    (
        verbs(),
        prop_oneof![3 => Just(BTreeSet::new()), 1 => verbs()],
        prop::option::weighted(0.4, 0..FILTERS.len()),
        prop::option::weighted(0.3, 0..FIELDS.len()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(allows, denies, filter, fields, for_scripts)| ModelRow {
            // Conditions of a row that allows nothing would say nothing.
            filter: filter.filter(|_| !allows.is_empty()),
            fields: fields.filter(|_| !allows.is_empty()),
            allows,
            denies,
            for_scripts,
        })
        .prop_filter("a row lists a verb", |row| {
            !row.allows.is_empty() || !row.denies.is_empty()
        })
}

fn model() -> impl Strategy<Value = Model> {
    let service = (
        prop::bool::weighted(0.8),
        0..2_u8,
        prop::option::of(0..2_u8),
        any::<bool>(),
    )
        .prop_map(|(active, database, records, described)| ModelService {
            active,
            database,
            records,
            described,
        });
    let place = (
        prop::option::weighted(0.7, 0..SERVICES.len()),
        0..PATTERNS.len(),
    );
    let role = (
        prop::bool::weighted(0.9),
        any::<bool>(),
        prop::collection::btree_map(place, model_row(), 0..7),
    )
        .prop_map(|(active, described, rows)| ModelRole {
            active,
            described,
            rows,
        });
    let key = (
        prop::bool::weighted(0.9),
        prop::option::weighted(0.9, 0..ROLES.len()),
        prop::option::weighted(0.4, 0..REGIONS.len()),
        any::<bool>(),
        any::<bool>(),
    );
    (
        prop::collection::btree_map(0..SERVICES.len(), service, 1..=SERVICES.len()),
        prop::collection::vec(role, ROLES.len()),
        prop::collection::vec(key, KEYS.len()),
        prop::collection::vec(0..KEYS.len() + 1, 4),
        0..REGIONS.len(),
        0..2_u8,
    )
        .prop_map(|(services, mut roles, keys, owners, region, body)| {
            for role in &mut roles {
                role.rows.retain(|(service, _), _| {
                    service.is_none_or(|service| services.contains_key(&service))
                });
            }
            let keys = keys.into_iter().enumerate();
            let keys = keys
                .map(|(index, (active, role, region, expires, allow_query))| {
                    let digests = (0..4_u8)
                        .zip(&owners)
                        .filter(|(_, owner)| **owner == index)
                        .map(|(digest, _)| digest)
                        .collect();
                    let key = ModelKey {
                        active,
                        role,
                        digests,
                        region,
                        expires,
                        allow_query,
                    };
                    (index, key)
                })
                .filter(|(_, key)| !key.digests.is_empty())
                .collect();
            Model {
                services,
                roles,
                keys,
                region,
                body,
            }
        })
}

/// Two trees, the second one often like the first but for a few things.
fn two_models() -> impl Strategy<Value = (Model, Model)> {
    (model(), model(), any::<u16>()).prop_map(|(from, other, taken)| {
        let takes = |bit: u16| taken & (1 << bit) != 0;
        let mut to = from.clone();
        if takes(0) && takes(1) {
            to.services.clone_from(&other.services);
        }
        for (index, role) in to.roles.iter_mut().enumerate() {
            if takes(2 + u16::try_from(index).unwrap()) {
                let theirs = &other.roles[index];
                role.active = theirs.active;
                for (bit, (place, row)) in (4..).zip(&theirs.rows) {
                    if takes(bit) {
                        role.rows.insert(*place, row.clone());
                    }
                }
                if takes(10) {
                    role.rows.pop_first();
                }
            }
            let services = &to.services;
            role.rows.retain(|(service, _), _| {
                service.is_none_or(|service| services.contains_key(&service))
            });
        }
        if takes(11) {
            to.keys.clone_from(&other.keys);
        }
        if takes(12) {
            to.region = other.region;
        }
        if takes(13) {
            to.body = other.body;
        }
        (from, to)
    })
}

/// Makes choices of style that mean nothing.
struct Style(u64);

impl Style {
    fn pick(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn says(&mut self) -> bool {
        self.pick(2) == 1
    }

    fn shuffled<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        for index in (1..list.len()).rev() {
            list.swap(index, self.pick(index + 1));
        }
        list
    }
}

fn access_row(
    service: Option<usize>,
    pattern: usize,
    verbs: &[&str],
    more: &[String],
    style: &mut Style,
) -> String {
    let quoted = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        names.join(", ")
    };
    let mut lines = vec![
        format!(
            "service = \"{}\"",
            service.map_or("*", |service| SERVICES[service])
        ),
        format!("component = \"{}\"", PATTERNS[pattern]),
        format!("verbs = [{}]", quoted(&style.shuffled(verbs.to_vec()))),
    ];
    lines.extend(more.iter().cloned());
    style.shuffled(lines).join("\n")
}

impl Model {
    /// One of many ways to write it.
    fn written(&self, seed: u64) -> Vec<(String, String)> {
        let style = &mut Style(seed);
        let mut tables = Vec::new();
        for (index, service) in &self.services {
            let mut text = format!("[service.{}]\ntype = \"sqlite\"\n", SERVICES[*index]);
            if !service.active || style.says() {
                writeln!(text, "active = {}", service.active).unwrap();
            }
            if service.described {
                text.push_str("description = \"d\" # why\n");
            } else if style.says() {
                writeln!(text, "label = \"{}\"", SERVICES[*index]).unwrap();
            }
            writeln!(
                text,
                "[service.{}.config]\ndatabase = \"{}.db\"",
                SERVICES[*index], service.database
            )
            .unwrap();
            match service.records {
                Some(records) => writeln!(text, "max_records = {}", records + 5).unwrap(),
                None if style.says() => text.push_str("max_records = 1_000\n"),
                None => {}
            }
            tables.push(text);
        }
        for (name, role) in ROLES.iter().zip(&self.roles) {
            let mut rows = Vec::new();
            for ((service, pattern), row) in &role.rows {
                let mut conditions = Vec::new();
                if let Some(filter) = row.filter {
                    conditions.push(format!("filter = '''{}'''", FILTERS[filter][style.pick(2)]));
                }
                if let Some(fields) = row.fields {
                    let fields: Vec<String> = FIELDS[fields]
                        .iter()
                        .map(|name| format!("\"{name}\""))
                        .collect();
                    conditions.push(format!("fields = [{}]", style.shuffled(fields).join(", ")));
                }
                let requesters = if row.for_scripts {
                    Some("requesters = [\"script\"]".to_owned())
                } else {
                    style.says().then(|| "requesters = [\"api\"]".to_owned())
                };
                conditions.extend(requesters.clone());
                let verbs = |set: &BTreeSet<u8>| -> Vec<&str> {
                    set.iter()
                        .map(|verb| ["GET", "POST", "DELETE"][usize::from(*verb)])
                        .collect()
                };
                let allows = verbs(&row.allows);
                let groups = if style.says() {
                    allows.iter().map(|verb| vec![*verb]).collect()
                } else if allows.is_empty() {
                    Vec::new()
                } else {
                    vec![allows]
                };
                for group in groups {
                    rows.push(access_row(*service, *pattern, &group, &conditions, style));
                }
                let denies = verbs(&row.denies);
                if !denies.is_empty() {
                    let mut more = vec!["deny = true".to_owned()];
                    more.extend(requesters);
                    rows.push(access_row(*service, *pattern, &denies, &more, style));
                }
            }
            let mut text = format!("[role.{name}]\n");
            if !role.active || style.says() {
                writeln!(text, "active = {}", role.active).unwrap();
            }
            if role.described {
                text.push_str("description = \"d\"\n");
            } else if style.says() {
                text.push_str("description = \"\"\n");
            }
            for row in style.shuffled(rows) {
                writeln!(text, "[[role.{name}.access]]\n{row}").unwrap();
            }
            tables.push(text);
        }
        for (index, key) in &self.keys {
            let digests = (key.digests.iter()).map(|number| digest(&number.to_string()));
            let digests: Vec<String> = digests
                .map(|digest| {
                    let digest = if style.says() {
                        digest.to_uppercase()
                    } else {
                        digest
                    };
                    format!("\"{digest}\"")
                })
                .collect();
            let mut text = format!(
                "[key.{}]\nsha256 = [{}]\n",
                KEYS[*index],
                style.shuffled(digests).join(", ")
            );
            if let Some(role) = key.role {
                writeln!(text, "role = \"{}\"", ROLES[role]).unwrap();
            }
            if !key.active || style.says() {
                writeln!(text, "active = {}", key.active).unwrap();
            }
            if key.expires {
                let moments = ["2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00"];
                writeln!(text, "expires = {}", moments[style.pick(2)]).unwrap();
            }
            if key.allow_query || style.says() {
                writeln!(text, "allow_query = {}", key.allow_query).unwrap();
            }
            if let Some(region) = key.region {
                writeln!(text, "lookup = {{ r = \"{}\" }}", REGIONS[region]).unwrap();
            }
            tables.push(text);
        }
        tables.push(format!("[lookup]\nr = \"{}\"\n", REGIONS[self.region]));
        let mut gateway = "[gateway]\n".to_owned();
        if self.body == 1 {
            gateway.push_str("max_body_bytes = 77\n");
        } else if style.says() {
            gateway.push_str("max_body_bytes = 0xA00000\n");
        }
        tables.push(gateway);
        let mut files = vec![String::new(); 1 + style.pick(3)];
        for table in style.shuffled(tables) {
            let file = style.pick(files.len());
            files[file].push_str("\n# a comment\n\n");
            files[file].push_str(&table);
        }
        let files = files.into_iter().enumerate();
        files
            .map(|(index, text)| (format!("{index}.toml"), text))
            .collect()
    }
}

/// Records by their columns `o`, `p`, `r`, and the ones that a filter admits, reckoned row by row.
fn admitted(
    grant: &Grant,
    lookups: &Lookups,
) -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut admitted = BTreeSet::new();
    for o in ["1", "2", "3"] {
        for p in ["2", "3"] {
            for r in ["north", "south", "k", "l"] {
                let of = |name: &str| match name {
                    "o" => o,
                    "p" => p,
                    _ => r,
                };
                let holds = grant.filter.as_ref().is_none_or(|filter| {
                    let has_values = filter
                        .lookups()
                        .all(|name| lookups.get(name).is_some_and(|value| !value.is_empty()));
                    has_values && holds(filter, &of, lookups)
                });
                if holds {
                    admitted.insert((o, p, r));
                }
            }
        }
    }
    admitted
}

fn holds(filter: &Filter, of: &dyn Fn(&str) -> &'static str, lookups: &Lookups) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Number(text) | Operand::Text(text) => text.clone(),
        Operand::Lookup(name) => lookups.get(name).unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    match filter {
        Filter::And(parts) => parts.iter().all(|part| holds(part, of, lookups)),
        Filter::Or(parts) => parts.iter().any(|part| holds(part, of, lookups)),
        Filter::Not(part) => !holds(part, of, lookups),
        Filter::Compare {
            field,
            operator: Comparison::Equal,
            value: operand,
        } => of(&field.name) == value(operand),
        Filter::In {
            field,
            values,
            negated: false,
        } => values
            .iter()
            .any(|operand| of(&field.name) == value(operand)),
        other => panic!("{other}"),
    }
}

/// What a key may do with a component, as the pipeline decides it.
fn grant(
    candidate: &Candidate,
    key: Option<&str>,
    service: &str,
    component: &str,
    verb: Verbs,
) -> Option<(Grant, Lookups)> {
    let key = key?;
    let found = candidate.set.services.get(service)?;
    let application = application(&candidate.set, key)?;
    if !application.key.is_active || !found.value.active {
        return None;
    }
    let access = application.access_by_name(service).ok()?;
    match access.decide(component, verb) {
        Decision::Granted(grant) => Some((grant, access.lookups().as_ref().clone())),
        Decision::Denied(_) | Decision::NotListed(_) | Decision::NoRow => None,
    }
}

/// Whether rows cover a component only because letter case does not count for what they restrict.
fn is_misspelt(
    candidates: [&Candidate; 2],
    keys: [Option<&str>; 2],
    service: &str,
    component: &str,
) -> bool {
    candidates.into_iter().zip(keys).any(|(candidate, key)| {
        let role = key
            .and_then(|key| candidate.set.keys.get(key))
            .and_then(|key| key.value.role.as_ref())
            .and_then(|role| candidate.set.roles.get(role));
        role.is_some_and(|role| {
            role.value
                .rules(service, Requester::Api)
                .iter()
                .any(|rule| {
                    rule.pattern.covers(component, false) && !rule.pattern.covers(component, true)
                })
        })
    })
}

/// What is said of a verb on a component.
fn said<'a>(
    changes: &'a Changes,
    principal: &Principal,
    service: &str,
    component: &str,
    verb: Verbs,
    is_misspelt: bool,
) -> Vec<&'a Effect> {
    let covers = |components: &Components| {
        let exactly = |pattern: &Pattern| pattern.covers(component, true);
        let is_as_written = exactly(&components.pattern)
            && !components.except.iter().any(exactly)
            && components.letter_case != LetterCase::Other;
        let is_other = components.pattern.covers(component, false)
            && components.letter_case != LetterCase::AsWritten;
        is_as_written || (is_misspelt && is_other)
    };
    let effects = changes.list.iter().filter_map(|change| match &change.what {
        What::Access(access) => {
            assert!(!change.sites.is_empty(), "{}", change.line());
            let is_about = access.principals.contains(principal)
                && access.services.iter().any(|name| name.as_str() == service)
                && access.verbs.contain(verb)
                && access.components.iter().any(covers);
            is_about.then_some(&access.effect)
        }
        _ => None,
    });
    effects.collect()
}

/// Whoever can call, before and after, by the names of the keys.
fn principals(from: &Model, to: &Model) -> Vec<Principal> {
    let name = |index: usize| KEYS[index].parse().unwrap();
    let mut found = Vec::new();
    for (index, _) in from
        .keys
        .iter()
        .filter(|(index, _)| to.keys.contains_key(index))
    {
        found.push((Some(*index), Some(*index)));
    }
    for (before, old) in &from.keys {
        for (after, new) in &to.keys {
            if before != after && !old.digests.is_disjoint(&new.digests) {
                found.push((Some(*before), Some(*after)));
            }
        }
    }
    let met = |found: &[(Option<usize>, Option<usize>)]| found.to_vec();
    for index in to.keys.keys() {
        if !met(&found).iter().any(|(_, after)| *after == Some(*index)) {
            found.push((None, Some(*index)));
        }
    }
    for index in from.keys.keys() {
        if !met(&found)
            .iter()
            .any(|(before, _)| *before == Some(*index))
        {
            found.push((Some(*index), None));
        }
    }
    let found = found.into_iter();
    found
        .map(|(before, after)| Principal {
            before: before.map(name),
            after: after.map(name),
        })
        .collect()
}

fn agree(from: &Model, to: &Model, seed: u64) -> Result<(), TestCaseError> {
    let (old, new) = (
        candidate(&from.written(seed)),
        candidate(&to.written(!seed)),
    );
    let changes = compare(&old, &new, &Tables::default());
    for principal in principals(from, to) {
        let names =
            [&principal.before, &principal.after].map(|name| name.as_ref().map(KeyName::as_str));
        for service in SERVICES {
            for component in COMPONENTS {
                let misspelt = is_misspelt([&old, &new], names, service, component);
                for verb in ["GET", "POST", "DELETE"] {
                    let verbs = Verbs::of(&verb.parse().unwrap());
                    let before = grant(&old, names[0], service, component, verbs);
                    let after = grant(&new, names[1], service, component, verbs);
                    let said = said(&changes, &principal, service, component, verbs, misspelt);
                    let about = format!("{principal:?} {verb} {service}/{component}: {said:?}");
                    if misspelt {
                        // Other spellings are said in general; nothing that happens is left out.
                        let is_said = match (&before, &after) {
                            (None, None) => true,
                            (None, Some(_)) => said
                                .iter()
                                .any(|effect| matches!(effect, Effect::Gained(_))),
                            (Some(_), None) => {
                                said.iter().any(|effect| matches!(effect, Effect::Lost(_)))
                            }
                            (Some(before), Some(after)) => {
                                is_same(before, after)
                                    || said
                                        .iter()
                                        .any(|effect| matches!(effect, Effect::Conditions { .. }))
                            }
                        };
                        prop_assert!(is_said, "{}", about);
                        continue;
                    }
                    prop_assert!(said.len() <= 1, "{}", about);
                    let said = said.first().copied();
                    match (&before, &after) {
                        (None, None) => prop_assert!(said.is_none(), "{}", about),
                        (None, Some((grant, _))) => {
                            prop_assert_eq!(
                                said,
                                Some(&Effect::Gained(Condition::of(grant))),
                                "{}",
                                about
                            );
                        }
                        (Some((grant, _)), None) => {
                            prop_assert_eq!(
                                said,
                                Some(&Effect::Lost(Condition::of(grant))),
                                "{}",
                                about
                            );
                        }
                        (Some(before), Some(after)) => {
                            conditions_agree(before, after, said, &about)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_same((before, old): &(Grant, Lookups), (after, new): &(Grant, Lookups)) -> bool {
    before.fields == after.fields && admitted(before, old) == admitted(after, new)
}

fn conditions_agree(
    (before, old): &(Grant, Lookups),
    (after, new): &(Grant, Lookups),
    said: Option<&Effect>,
    about: &str,
) -> Result<(), TestCaseError> {
    let (had, has) = (admitted(before, old), admitted(after, new));
    let (filter, fields) = match said {
        None => (None, None),
        Some(Effect::Conditions { filter, fields }) => (filter.as_ref(), fields.as_ref()),
        Some(_) => return Err(TestCaseError::fail(about.to_owned())),
    };
    match filter.map(|change| change.direction) {
        None => prop_assert_eq!(had, has, "{}", about),
        Some(Direction::Widened) => prop_assert!(had.is_subset(&has), "{}", about),
        Some(Direction::Narrowed) => prop_assert!(has.is_subset(&had), "{}", about),
        // Nothing is claimed.
        Some(Direction::Either) => {}
    }
    prop_assert_eq!(fields.is_some(), before.fields != after.fields, "{}", about);
    if let Some(change) = fields {
        let list = |grant: &Grant| {
            grant
                .fields
                .as_ref()
                .map(|fields| fields.iter().cloned().collect::<Vec<_>>())
        };
        prop_assert_eq!(&change.before, &list(before));
        prop_assert_eq!(&change.after, &list(after));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_access_is_what_the_trees_grant((from, to) in two_models(), seed in any::<u64>()) {
        agree(&from, &to, seed)?;
    }

    #[test]
    fn what_means_the_same_is_no_change(model in model(), one in any::<u64>(), other in any::<u64>()) {
        let (one, other) = (candidate(&model.written(one)), candidate(&model.written(other)));
        let changes = compare(&one, &other, &Tables::default());
        prop_assert_eq!(changes.list.iter().map(Change::line).collect::<Vec<_>>(), Vec::<String>::new());
        prop_assert_eq!(changes.kept.len(), model.services.len());
    }

    #[test]
    fn what_means_something_else_is_a_change((from, to) in two_models(), seed in any::<u64>()) {
        let (old, new) = (candidate(&from.written(seed)), candidate(&to.written(!seed)));
        let changes = compare(&old, &new, &Tables::default());
        prop_assert_eq!(changes.list.is_empty(), from == to);
        for change in &changes.list {
            prop_assert!(!change.sites.is_empty(), "{}", change.line());
            prop_assert!(!change.classes.is_empty(), "{}", change.line());
        }
    }
}
