//! The suite that every database must pass.
//!
//! A product gives [`Words`] for its DDL and opens connectors over fresh databases; each case then talks to the
//! connector as the pipeline does and compares whole answers. What a product lacks, it says in its words, and the
//! cases for it are skipped visibly.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests; a failed expectation is their result"
)]

mod across;
mod attacks;
mod bulk;
mod driver;
mod formats;
mod hostile;
mod listing;
mod nested;
mod paging;
mod reading;
mod relations;
mod roles;
mod routines;
mod schema;
mod tables;
mod types;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::options::DatabaseOptions;
use super::rows::{Frame, RowWriter, Shape};
use super::value::Value;
use crate::connector::Connector;
use crate::exchange::Format;
use driver::Tester;

/// How a product spells the tables of the suite, and what it can hold.
#[derive(Clone, Debug)]
pub struct Words {
    /// The product, for messages.
    pub product: &'static str,
    /// A numbered primary key: `INTEGER PRIMARY KEY`.
    pub auto_key: &'static str,
    /// A whole number of 32 bits.
    pub integer: &'static str,
    /// A whole number of 64 bits.
    pub big_integer: &'static str,
    /// An exact number with two digits after the point.
    pub money: &'static str,
    /// An exact number of at least 20 digits before and 9 after the point.
    pub decimal: &'static str,
    /// A double-precision number.
    pub double: &'static str,
    /// A truth value.
    pub boolean: &'static str,
    /// Text.
    pub text: &'static str,
    /// Text of any length, which need not be a key.
    pub long_text: &'static str,
    /// JSON.
    pub json: &'static str,
    /// A UUID.
    pub uuid: &'static str,
    /// Bytes.
    pub binary: &'static str,
    /// A day.
    pub date: &'static str,
    /// A time of day.
    pub time: &'static str,
    /// A timestamp without a zone.
    pub date_time: &'static str,
    /// A timestamp with a zone.
    pub timestamp: &'static str,
    /// An array of whole numbers, where the product has arrays.
    pub integer_array: Option<&'static str>,
    /// Truth values in DDL and INSERT: false, true.
    pub truths: [&'static str; 2],
    /// Whether numbers of more than 15 digits are kept exactly. Where not, they must be refused.
    pub has_exact_decimals: bool,
    /// Whether there is a type for UUIDs, in whatever spelling they come.
    pub has_uuids: bool,
    /// The strangest letter that a name can have.
    pub strange_letter: &'static str,
    /// Whether tables are changed through the gateway.
    pub changes_schema: bool,
    /// Quotes a name.
    pub quote: fn(&str) -> String,
    /// Its stored procedures and functions, where it has such.
    pub routines: Option<RoutineWords>,
}

/// How a product spells the routines of the suite, beside the tables of the shop.
#[derive(Clone, Debug)]
pub struct RoutineWords {
    /// What makes them:
    ///
    /// * procedure `add_tag (p_label)`: adds a tag;
    /// * procedure `close_month (p_year IN, p_done OUT, p_note INOUT)`, two whole numbers and a text: `p_done` is ten
    ///   times the year, `p_note` gets `!` appended;
    /// * procedure `open_invoices (p_least IN amount, p_count OUT)`: one result set with `number` and `total` of the
    ///   invoices that amount to as much, by number, and their count;
    /// * procedure `lists ()`: the labels of tags by `id` as `label`, then the invoice numbers `A-1` and `B-1` as
    ///   `number`;
    /// * procedure `refuse (p_reason)`: adds a tag `lost`, then raises the reason as an error for its caller;
    /// * function `invoice_total (p_customer)`, declared to read only: the sum of the totals of a customer's invoices;
    /// * function `twice (p_number)`, not declared to read only: twice the number.
    pub statements: &'static [&'static str],
    /// What makes the table function `invoices_of (p_customer)`, declared to read only, which gives `number` and
    /// `total` of a customer's invoices by number, where the product has table functions.
    pub table_function: Option<&'static str>,
    /// What makes the procedures `add_tags (p_label, p_second)`, the second with the default `spare`, which add tags,
    /// where the product has defaults.
    pub defaults: Option<&'static str>,
    /// What makes two functions `area`, of `p_side` and of `p_width` and `p_height`, all whole numbers, declared to read
    /// only, where the product has overloads.
    pub overloads: &'static [&'static str],
}

/// One type of a product in the reference table of types, with values that go in and come out.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The type as DDL spells it: `numeric(12,2)`.
    pub declaration: &'static str,
    /// A statement that must be run before, such as `CREATE TYPE`; empty without one.
    pub before: &'static str,
    /// JSON texts that are sent, and what is answered for each. The first one stands in the reference; extremes follow.
    pub values: &'static [(&'static str, &'static str)],
}

impl Sample {
    /// A type that needs nothing before it.
    pub const fn of(
        declaration: &'static str,
        values: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            declaration,
            before: "",
            values,
        }
    }
}

/// Opens databases of one product for the suite.
#[async_trait]
pub trait Product: Send + Sync + 'static {
    /// How it spells tables.
    fn words(&self) -> &Words;

    /// Its types, for the reference and for round trips.
    fn samples(&self) -> &'static [Sample] {
        &[]
    }

    /// A connector for the service `s` over a database of its own in which only these statements were run.
    async fn open(&self, statements: &[String], options: DatabaseOptions) -> Arc<dyn Connector>;
}

/// One thing that every database must do.
#[derive(Clone, Copy)]
pub struct Case {
    /// What must hold, as a sentence.
    pub name: &'static str,
    /// Whether the product must pass it.
    pub applies: fn(&Words) -> bool,
    /// Why a product cannot, to which it does not apply.
    pub otherwise: &'static str,
    module: &'static str,
    run: fn(Tester) -> BoxFuture<'static, ()>,
}

impl Case {
    /// The part of the suite that it belongs to: `reading`, `writing`, …
    pub fn area(&self) -> &'static str {
        self.module
            .rsplit_once("::")
            .map_or(self.module, |(_, area)| area)
    }

    /// Runs the case. Panics when the product does not pass.
    pub async fn run(&self, product: Arc<dyn Product>) {
        (self.run)(Tester::new(product)).await;
    }
}

/// One value as the JSON that an answer has for it. For products that no test has a server of.
///
/// # Panics
///
/// Panics if `give` gives no value.
pub fn shown_alone(give: impl FnOnce(&mut dyn FnMut(&Value<'_>))) -> String {
    let shape = Shape::new(vec!["a".to_owned()], Frame::Single, Format::Json);
    let mut rows = RowWriter::new(Arc::new(shape), None);
    rows.begin_row();
    give(&mut |value| rows.value(value));
    rows.end_row();
    let record = rows.finish(&serde_json::Map::new());
    let record = std::str::from_utf8(&record).unwrap();
    let value = record
        .strip_prefix("{\"a\":")
        .and_then(|rest| rest.strip_suffix('}'));
    value.unwrap().to_owned()
}

/// Every case, in the order of the documentation.
pub fn suite() -> Vec<Case> {
    [
        reading::CASES,
        paging::CASES,
        relations::CASES,
        across::CASES,
        writing::CASES,
        bulk::CASES,
        nested::CASES,
        types::CASES,
        roles::CASES,
        hostile::CASES,
        listing::CASES,
        routines::CASES,
        schema::CASES,
        tables::CASES,
        formats::CASES,
        attacks::CASES,
    ]
    .concat()
}

/// The columns of the table `kind` that [`samples_table`] makes: one for each sample, `c0`, `c1`, ….
pub fn samples_table(product: &dyn Product) -> Vec<String> {
    let samples = product.samples();
    let mut statements: Vec<String> = samples
        .iter()
        .filter(|sample| !sample.before.is_empty())
        .map(|sample| sample.before.to_owned())
        .collect();
    let columns: Vec<String> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| format!(", c{index} {}", sample.declaration))
        .collect();
    statements.push(format!(
        "CREATE TABLE kind (id {}{})",
        product.words().auto_key,
        columns.concat()
    ));
    statements
}

/// Cases from functions of the same names; `if` says which products they are for, and `=>` why the others cannot.
macro_rules! cases {
    ($($name:ident $(if $applies:expr)? $(=> $otherwise:literal)?),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            name: stringify!($name),
            module: module_path!(),
            applies: cases!(@applies $($applies)?),
            otherwise: concat!($($otherwise)?),
            run: |tester| Box::pin($name(tester)),
        }),*];
    };
    (@applies) => { |_| true };
    (@applies $applies:expr) => { $applies };
}
use cases;

/// The tables that most cases work on. Records are numbered from 1 in the order given.
fn shop(words: &Words) -> Vec<String> {
    let Words {
        auto_key,
        integer,
        money,
        boolean,
        text,
        long_text,
        date,
        truths: [no, yes],
        ..
    } = words;
    vec![
        format!(
            "CREATE TABLE customer (id {auto_key}, email {text} NOT NULL UNIQUE, full_name {text} NOT NULL, \
             credit {money}, is_active {boolean} NOT NULL DEFAULT {yes}, region {text}, joined {date})"
        ),
        format!(
            "CREATE TABLE invoice (id {auto_key}, customer_id {integer} REFERENCES customer (id), \
             number {text} NOT NULL UNIQUE, total {money} NOT NULL CHECK (total >= 0))"
        ),
        format!("CREATE TABLE tag (id {auto_key}, label {long_text} NOT NULL)"),
        format!(
            "CREATE TABLE invoice_tag (invoice_id {integer} NOT NULL REFERENCES invoice (id), \
             tag_id {integer} NOT NULL REFERENCES tag (id), PRIMARY KEY (invoice_id, tag_id))"
        ),
        format!(
            "CREATE TABLE line (invoice_id {integer} NOT NULL REFERENCES invoice (id), position {integer} NOT NULL, \
             product {text} NOT NULL, quantity {integer} NOT NULL DEFAULT 1, PRIMARY KEY (invoice_id, position))"
        ),
        format!(
            "CREATE TABLE profile (customer_id {integer} PRIMARY KEY REFERENCES customer (id), bio {text})"
        ),
        format!("CREATE VIEW active_customer AS SELECT id, email FROM customer WHERE is_active = {yes}"),
        format!(
            "INSERT INTO customer (email, full_name, credit, is_active, region, joined) VALUES \
             ('ann@example.org', 'Ann Berg', 100.50, {yes}, 'north', '2024-01-31'), \
             ('bo@example.org', 'Bo Lind', 0, {no}, 'south', '2024-02-29'), \
             ('cy@example.org', 'Cy O''Dahl', 20.10, {yes}, 'north', '2025-06-01'), \
             ('di@example.org', 'Di 100% _Moe', NULL, {yes}, NULL, NULL)"
        ),
        "INSERT INTO invoice (customer_id, number, total) VALUES (1, 'A-1', 10), (1, 'A-2', 20.5), (1, 'A-3', 5), \
         (3, 'B-1', 7), (NULL, 'C-1', 1)"
            .to_owned(),
        "INSERT INTO tag (label) VALUES ('urgent'), ('paid')".to_owned(),
        "INSERT INTO invoice_tag (invoice_id, tag_id) VALUES (1, 1), (1, 2), (2, 2)".to_owned(),
        "INSERT INTO line (invoice_id, position, product, quantity) VALUES (1, 1, 'nut', 3), (1, 2, 'bolt', 5), \
         (2, 1, 'nut', 1)"
            .to_owned(),
        "INSERT INTO profile (customer_id, bio) VALUES (1, 'first')".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_of_cases_are_unique() {
        let names: HashSet<_> = suite().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), suite().len());
    }
}
