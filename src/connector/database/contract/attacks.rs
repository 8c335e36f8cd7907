//! Random roles, random requests: what a role hides never occurs in an answer.
//!
//! Every value of the tables below is unlike every other, so each value in an answer tells which cell it comes from;
//! a naive model of the role says which cells may be seen.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::cursor::CursorBinding;
use super::super::plan::{Expression, Order};
use super::super::value::Scalar;
use super::cases;
use super::driver::{Caller, Row, Tester, allow, deny, with};

cases![
    what_a_role_hides_never_occurs_in_an_answer,
    one_url_answers_each_caller_alone,
    a_relation_to_a_hidden_table_is_an_unknown_member,
    a_forged_cursor_does_no_harm,
];

/// Roles that are tried, and requests that each of them makes.
const ROLES: u64 = 60;
const REQUESTS: usize = 25;

/// The tables: names, columns and the first number of their keys.
const TABLES: [(&str, &[&str], u32); 3] = [
    (
        "parent",
        &["pid", "pgroup", "palpha", "pbeta", "pspare"],
        1_000,
    ),
    (
        "child",
        &["cid", "cgroup", "cparent", "cgamma", "cspare"],
        2_000,
    ),
    ("link", &["lparent", "lchild", "lgroup", "lspare"], 3_000),
];
const ROWS: u32 = 6;
const GROUPS: [&str; 3] = ["east", "west", "void"];

/// Numbers that look random and are the same each time (Steele, Lea, Flood: splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn group_of(table: usize, row: u32) -> &'static str {
    GROUPS[(table + usize::try_from(row).unwrap() * (table + 1)) % GROUPS.len()]
}

/// What a cell shows, or none for the columns whose values are not unique.
fn cell(table: usize, column: &str, row: u32) -> Option<String> {
    Some(match column {
        "pid" | "cid" => (TABLES[table].2 + row).to_string(),
        "cparent" | "lparent" => (TABLES[0].2 + row * 5 % ROWS).to_string(),
        "lchild" => (TABLES[1].2 + row).to_string(),
        "palpha" | "pbeta" | "cgamma" => format!("{column}-{row}"),
        _ => return None,
    })
}

async fn open(tester: &Tester) -> Caller {
    let words = tester.words();
    let (integer, text) = (words.integer, words.text);
    let mut statements = vec![
        format!(
            "CREATE TABLE parent (pid {integer} PRIMARY KEY, pgroup {text} NOT NULL, palpha {text}, pbeta {text} UNIQUE, pspare {text})"
        ),
        format!(
            "CREATE TABLE child (cid {integer} PRIMARY KEY, cgroup {text} NOT NULL, cparent {integer} REFERENCES parent (pid), cgamma {text}, cspare {text})"
        ),
        format!(
            "CREATE TABLE link (lparent {integer} NOT NULL REFERENCES parent (pid), lchild {integer} NOT NULL REFERENCES child (cid), lgroup {text}, lspare {text}, PRIMARY KEY (lparent, lchild))"
        ),
    ];
    for (table, (name, columns, _)) in TABLES.iter().enumerate() {
        for row in 0..ROWS {
            let values: Vec<String> = columns
                .iter()
                .map(|column| {
                    if column.ends_with("group") {
                        return format!("'{}'", group_of(table, row));
                    }
                    match cell(table, column, row) {
                        None => "'-'".to_owned(),
                        Some(value) if value.contains('-') => format!("'{value}'"),
                        Some(number) => number,
                    }
                })
                .collect();
            statements.push(format!("INSERT INTO {name} VALUES ({})", values.join(", ")));
        }
    }
    tester.open(&statements).await
}

/// What a role may do with one table.
#[derive(Clone, Debug)]
struct Part {
    is_granted: bool,
    groups: Option<BTreeSet<&'static str>>,
    columns: BTreeSet<&'static str>,
}

impl Part {
    fn admits_row(&self, table: usize, row: u32) -> bool {
        self.is_granted
            && self
                .groups
                .as_ref()
                .is_none_or(|groups| groups.contains(group_of(table, row)))
    }
}

/// A random role: the rows that say it, and the model of what they mean.
fn role(dice: &mut Dice) -> (Vec<Row>, Vec<Part>) {
    let mut rows = vec![allow("_schema/*", &["GET"])];
    let mut parts = Vec::new();
    if dice.chance(30) {
        rows.push(allow("*", super::driver::ALL));
    }
    for (name, columns, _) in TABLES {
        let component = format!("_table/{name}/*");
        let mut part = Part {
            is_granted: dice.chance(80),
            groups: None,
            columns: columns.iter().copied().collect(),
        };
        if !part.is_granted {
            rows.push(deny(&component, super::driver::ALL));
            parts.push(part);
            continue;
        }
        let mut row = allow(&component, super::driver::ALL);
        if dice.chance(60) {
            part.columns = columns
                .iter()
                .copied()
                .filter(|_| dice.chance(65))
                .collect();
            part.columns.insert(columns[0]);
            if dice.chance(25) {
                part.columns.remove(columns[0]);
                part.columns.insert(columns[1]);
            }
            let listed: Vec<&str> = part.columns.iter().copied().collect();
            row = row.fields(&listed);
        }
        if dice.chance(65) {
            let column = columns
                .iter()
                .find(|column| column.ends_with("group"))
                .unwrap();
            let (first, second) = (*dice.pick(&GROUPS), *dice.pick(&GROUPS));
            let (text, groups) = match dice.below(4) {
                0 => (format!("{column} = '{first}'"), BTreeSet::from([first])),
                1 => (
                    format!("{column} = '{first}' OR {column} = '{second}'"),
                    BTreeSet::from([first, second]),
                ),
                2 => (
                    format!("NOT ({column} = '{first}')"),
                    GROUPS.into_iter().filter(|group| *group != first).collect(),
                ),
                _ => (
                    format!("{column} IN ('{first}', '{second}')"),
                    BTreeSet::from([first, second]),
                ),
            };
            row = row.filter(&text);
            part.groups = Some(groups);
        }
        rows.push(row);
        parts.push(part);
    }
    (rows, parts)
}

/// A column, most often one of these.
fn any_column(dice: &mut Dice, likely: &[&'static str]) -> &'static str {
    if dice.chance(85) {
        return likely[dice.below(likely.len())];
    }
    let (_, columns, _) = *dice.pick(&TABLES);
    columns[dice.below(columns.len())]
}

/// The columns of the table that a relation leads to first.
fn columns_behind(relation: &str) -> &'static [&'static str] {
    let table = TABLES.iter().find(|(name, ..)| relation.starts_with(name));
    table.map_or(TABLES[0].1, |(_, columns, _)| columns)
}

fn any_filter(dice: &mut Dice, likely: &[&'static str]) -> String {
    let column = any_column(dice, likely);
    let number = 1_000 * (dice.below(3) + 1) + dice.below(7);
    match dice.below(7) {
        0 => format!("{column} = '{}'", dice.pick(&GROUPS)),
        1 => format!("{column} IS NOT NULL"),
        2 => format!("{column} >= {number}"),
        3 => format!(
            "{column} LIKE '%a%' OR {} IS NOT NULL",
            any_column(dice, likely)
        ),
        4 => format!("NOT ({column} = 'void') OR {column} IS NULL"),
        5 => format!("{column} = {number}) OR ({column} IS NOT NULL"),
        _ => format!("{column} > 'a' AND {} != ''", any_column(dice, likely)),
    }
}

const RELATIONS: [&str; 12] = [
    "*",
    "parent_by_cparent",
    "child_by_cparent",
    "link_by_lparent",
    "link_by_lchild",
    "child_by_link",
    "parent_by_link",
    "parent_by_lparent",
    "child_by_lchild",
    "child_by_cparent.link_by_lchild",
    "parent_by_cparent.child_by_cparent",
    "child_by_link.parent_by_link",
];

/// A random read or harmless write: its method, target and body.
fn request(dice: &mut Dice) -> (&'static str, String, Option<Value>) {
    let (table, columns, first) = *dice.pick(&TABLES);
    let id = |dice: &mut Dice| (usize::try_from(first).unwrap() + dice.below(7)).to_string();
    let mut path = format!("_table/{table}");
    let mut options: Vec<(&str, String)> = Vec::new();
    let method = *dice.pick(&["GET", "GET", "GET", "GET", "PATCH", "DELETE"]);
    match dice.below(10) {
        0 | 1 => path = format!("{path}/{}", id(dice)),
        2 | 3 => options.push(("ids", format!("{},{}", id(dice), id(dice)))),
        number if number < 8 || method != "GET" => {
            options.push(("filter", any_filter(dice, columns)));
        }
        _ => {}
    }
    if method == "DELETE" {
        // Only what no role admits may be named here, so that the tables stay as they are.
        path = format!("_table/{table}");
        options = vec![(
            "filter",
            format!(
                "({}) AND {} = 'nobody'",
                any_filter(dice, columns),
                columns[1]
            ),
        )];
    }
    if dice.chance(50) {
        let listed: Vec<&str> = (0..=dice.below(3))
            .map(|_| any_column(dice, columns))
            .collect();
        let fields = if dice.chance(40) {
            "*".to_owned()
        } else {
            listed.join(",")
        };
        options.push(("fields", fields));
    }
    if method == "GET" && dice.chance(40) {
        options.push(("order", format!("{} DESC", any_column(dice, columns))));
    }
    if method != "DELETE" && dice.chance(50) {
        let relation = *dice.pick(&RELATIONS);
        options.push(("related", relation.to_owned()));
        let name = relation.split('.').next().unwrap();
        if relation != "*" && dice.chance(50) {
            let behind = columns_behind(name);
            let (option, value) = match dice.below(3) {
                0 => (".filter", any_filter(dice, behind)),
                1 => (".fields", any_column(dice, behind).to_owned()),
                _ => (".order", any_column(dice, behind).to_owned()),
            };
            let option: &'static str = Box::leak(format!("{name}{option}").into_boxed_str());
            options.push((option, value));
        }
    }
    if method == "GET" && dice.chance(15) {
        options.push(("group", any_column(dice, columns).to_owned()));
        options.push((
            "fields",
            format!("MAX({}),COUNT(*)", any_column(dice, columns)),
        ));
        options.push(("having", format!("MIN_{} > 'a'", any_column(dice, columns))));
    }
    for flag in ["include_schema", "include_count", "as_list", "continue"] {
        if dice.chance(10) {
            options.push((flag, "true".to_owned()));
        }
    }
    if dice.chance(30) {
        options.push(("limit", (dice.below(3) + 1).to_string()));
    }
    if dice.chance(10) {
        options.push(("id_field", any_column(dice, columns).to_owned()));
    }
    if dice.chance(5) {
        return ("GET", format!("_schema/{table}"), None);
    }
    let options: Vec<(&str, &str)> = options
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let spare = *columns.last().unwrap();
    let body = (method == "PATCH").then(|| json!({"resource": {spare: "touched"}}));
    (method, with(&path, &options), body)
}

/// All words and numbers of a text that could be a value of a cell or the name of a column.
fn words_of(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| {
        !character.is_ascii_alphanumeric() && character != '-' && character != '_'
    })
    .filter(|word| !word.is_empty())
    .collect()
}

async fn what_a_role_hides_never_occurs_in_an_answer(tester: Tester) {
    let all = open(&tester).await;
    let mut succeeded = 0;
    for seed in 0..ROLES {
        let mut dice = Dice(seed);
        let (rows, parts) = role(&mut dice);
        let caller = all.with_role(&rows);
        let mut seen = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for (table, (_, columns, _)) in TABLES.iter().enumerate() {
            for column in *columns {
                let is_shown = parts[table].is_granted && parts[table].columns.contains(column);
                if is_shown { &mut seen } else { &mut hidden }.insert((*column).to_owned());
                for row in 0..ROWS {
                    if let Some(value) = cell(table, column, row) {
                        let is_shown = is_shown && parts[table].admits_row(table, row);
                        if is_shown { &mut seen } else { &mut hidden }.insert(value);
                    }
                }
            }
        }
        for _ in 0..REQUESTS {
            let (method, target, body) = request(&mut dice);
            let mut request = caller.request(method, &target);
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request.send().await;
            let mut document = answer.json();
            if let Some(error) = document["error"].as_object_mut() {
                error.remove("log");
            }
            // Cursors hold the values of the last record, encoded; what they may hold is tested with the planner.
            if let Some(meta) = document.get_mut("meta").and_then(Value::as_object_mut) {
                meta.remove("next_cursor");
            }
            succeeded += u64::from(answer.status == 200);
            assert_ne!(
                answer.status,
                500,
                "seed {seed}: {method} {target}: {}",
                answer.text()
            );
            let text = document.to_string();
            let asked = percent_encoding::percent_decode_str(&target)
                .decode_utf8_lossy()
                .replace("MIN_", " ")
                + &body.map(|body| body.to_string()).unwrap_or_default();
            let asked = words_of(&asked);
            for word in words_of(&text) {
                assert!(
                    !hidden.contains(word) || seen.contains(word) || asked.contains(word),
                    "seed {seed}: `{word}` is hidden by {parts:?}, and yet {method} {target} says {text}"
                );
            }
        }
        for (table, (name, ..)) in TABLES.iter().enumerate() {
            let expected = (0..ROWS)
                .filter(|row| parts[table].admits_row(table, *row))
                .count();
            let answer = caller.get(&format!("_table/{name}?count_only=true")).await;
            if parts[table].is_granted {
                assert_eq!(answer.ok_json(), expected, "seed {seed}: {name}");
            } else {
                answer.refused(403, "forbidden");
            }
        }
        untouched_rows_are_as_they_were(&all, &parts, seed).await;
    }
    // Requests that are all refused would show nothing.
    assert!(succeeded > ROLES * 4, "{succeeded} requests succeeded");
}

/// No write reached a row that the role does not admit, nor a column; then everything is put back.
async fn untouched_rows_are_as_they_were(all: &Caller, parts: &[Part], seed: u64) {
    for (table, (name, columns, _)) in TABLES.iter().enumerate() {
        let spare = *columns.last().unwrap();
        let order = if *name == "link" {
            "lchild"
        } else {
            columns[0]
        };
        let values = all
            .column(&format!("_table/{name}?order={order}"), spare)
            .await;
        assert_eq!(
            values.len(),
            usize::try_from(ROWS).unwrap(),
            "seed {seed}: {name}"
        );
        for (row, value) in (0..ROWS).zip(values) {
            let may_be_written =
                parts[table].admits_row(table, row) && parts[table].columns.contains(spare);
            assert!(
                value == "-" || may_be_written,
                "seed {seed}: row {row} of {name} was written by {parts:?}"
            );
        }
        all.patch(
            &with(
                &format!("_table/{name}"),
                &[("filter", &format!("{order} > 0"))],
            ),
            json!({"resource": {spare: "-"}}),
        )
        .await
        .ok_json();
    }
}

async fn one_url_answers_each_caller_alone(tester: Tester) {
    let all = open(&tester).await;
    let filtered = |group: &str| {
        vec![allow("_table/parent/*", &["GET"]).filter(&format!("pgroup = '{group}'"))]
    };
    let by_lookup = vec![
        allow("_table/parent/*", &["GET"])
            .filter("pgroup = {user.group}")
            .fields(&["pid", "palpha"]),
    ];
    let callers: Vec<(Caller, Option<&str>, &[&str])> = vec![
        (all.clone(), None, TABLES[0].1),
        (all.with_role(&filtered("east")), Some("east"), TABLES[0].1),
        (all.with_role(&filtered("west")), Some("west"), TABLES[0].1),
        (
            all.with_role(&[allow("_table/parent/*", &["GET"]).fields(&["pid", "pbeta"])]),
            None,
            &["pid", "pbeta"],
        ),
        (
            all.with_role_and_lookups(&by_lookup, &[("user.group", "east")]),
            Some("east"),
            &["pid", "palpha"],
        ),
        (
            all.with_role_and_lookups(&by_lookup, &[("user.group", "west")]),
            Some("west"),
            &["pid", "palpha"],
        ),
        (
            all.with_role_and_lookups(&by_lookup, &[]),
            Some("nowhere"),
            &["pid", "palpha"],
        ),
    ];
    let targets = [
        "_table/parent",
        "_table/parent?limit=6",
        "_table/parent?filter=pid%20%3E%200",
        "_table/PARENT?order=pid",
        "_table/parent?ids=1000,1001,1002,1003,1004,1005&continue=true",
    ];
    for _ in 0..3 {
        for target in targets {
            for (number, (caller, group, columns)) in callers.iter().enumerate() {
                let rows: Vec<u32> = (0..ROWS)
                    .filter(|row| group.is_none_or(|group| group_of(0, *row) == group))
                    .collect();
                let answer = caller.get(target).await;
                if target.contains("ids=") && rows.len() < usize::try_from(ROWS).unwrap() {
                    answer.refused(400, "batch_failed");
                    continue;
                }
                let document = answer.ok_json();
                let records = document["resource"].as_array().unwrap();
                let ids: Vec<Value> = records.iter().map(|record| record["pid"].clone()).collect();
                let expected: Vec<Value> =
                    rows.iter().map(|row| json!(TABLES[0].2 + row)).collect();
                assert_eq!(ids, expected, "caller {number}, {target}");
                for record in records {
                    let names: Vec<&str> = record
                        .as_object()
                        .unwrap()
                        .keys()
                        .map(String::as_str)
                        .collect();
                    assert_eq!(names, *columns, "caller {number}, {target}");
                }
            }
        }
        for row in 0..ROWS {
            for (number, (caller, group, _)) in callers.iter().enumerate() {
                let answer = caller
                    .get(&format!("_table/parent/{}", TABLES[0].2 + row))
                    .await;
                let is_seen = group.is_none_or(|group| group_of(0, row) == group);
                assert_eq!(
                    answer.status,
                    if is_seen { 200 } else { 404 },
                    "caller {number}, row {row}"
                );
            }
        }
    }
}

async fn a_relation_to_a_hidden_table_is_an_unknown_member(tester: Tester) {
    let all = open(&tester).await;
    let caller = all.with_role(&[allow("_table/parent/*", super::driver::ALL)]);
    for member in ["child_by_cparent", "child_by_link"] {
        for name in [member, "nothing_of_this_kind"] {
            let answer = caller.patch("_table/parent/1000", json!({name: []})).await;
            answer.refused(400, "unknown_field");
        }
    }
    let answer = all
        .patch("_table/parent/1000", json!({"child_by_cparent": []}))
        .await;
    answer.is(&json!({"pid": 1000}));
}

async fn a_forged_cursor_does_no_harm(tester: Tester) {
    let all = open(&tester).await;
    let caller = all.with_role(&[allow("_table/parent/*", &["GET"]).filter("pgroup = 'east'")]);
    // Whoever knows the source can make a cursor: the digest is no secret.
    let forged = |column: usize, value: Scalar| {
        let order = |column| Order {
            expression: Expression::Column(column),
            descending: false,
            nulls: None,
        };
        let orders = vec![order(column)];
        let binding = CursorBinding::new("parent", &format!("{orders:?}"), "", 1);
        binding.encode(&[value]).unwrap()
    };
    let answer = caller
        .get(&format!(
            "_table/parent?cursor={}",
            forged(0, Scalar::Int(0))
        ))
        .await;
    let groups = answer.column("pgroup");
    assert!(!groups.is_empty() && groups.iter().all(|group| group == "east"));
    for value in [
        Scalar::Null,
        Scalar::Bool(true),
        Scalar::Int(i64::MAX),
        Scalar::Int(i64::MIN),
        Scalar::Float(f64::NAN),
        Scalar::Float(f64::INFINITY),
        Scalar::Float(0.5),
        Scalar::Decimal("not a number".into()),
        Scalar::Decimal("9".repeat(5_000)),
        Scalar::Decimal(String::new()),
        Scalar::Text("1) OR (1=1".into()),
        Scalar::Text("a\0b".into()),
        Scalar::Bytes(vec![0, 255]),
        Scalar::Uuid([0; 16]),
        Scalar::Json("{".into()),
        Scalar::Temporal("no day".into()),
        Scalar::Array(vec![Scalar::Array(Vec::new()), Scalar::Null]),
    ] {
        let target = format!("_table/parent?cursor={}", forged(0, value.clone()));
        let answer = caller.get(&target).await;
        assert!(
            answer.status == 200 || answer.status == 400,
            "{value:?}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.status == 200 {
            let groups = answer.column("pgroup");
            assert!(groups.iter().all(|group| group == "east"), "{value:?}");
        }
    }
}
