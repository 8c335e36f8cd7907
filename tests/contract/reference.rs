//! What the suite knows of the products, as documents: the types of each, and which cases it passes. Both are generated
//! and held against the committed text; `TIDEGATE_BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::Failed;
use tidegate::connector::Description;
use tidegate::connector::database::catalog::Type;
use tidegate::connector::database::contract::{Case, Product, Words, samples_table, suite};
use tidegate::connector::database::options::DatabaseOptions;
use tidegate::openapi::schema_of_type;

use super::Start;

/// Products that the suite does not run on, and why not.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "sqlserver",
        "no server can be had; an emulator answers reads",
    ),
    ("oracle", "no server can be had; a scripted driver answers"),
    (
        "odbc-firebird",
        "no driver can be had; its SQL runs in the engine",
    ),
    (
        "odbc-db2, odbc-snowflake, odbc-sqlserver, odbc-oracle",
        "no server can be had; SQL snapshots",
    ),
];

const BEGIN: &str = "<!-- contract: begin -->\n";
const END: &str = "<!-- contract: end -->";

/// The types of a product: what the database calls them, what the interface gives, and how OpenAPI describes it.
pub(crate) fn types(name: &str, product: &Arc<dyn Product>) -> Result<(), Failed> {
    let samples = product.samples();
    if samples.is_empty() {
        return Err(format!("{name} has no samples of its types").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let description = runtime.block_on(async {
        let connector = product
            .open(&samples_table(product.as_ref()), DatabaseOptions::default())
            .await;
        connector.describe().await
    })?;
    let Description::Database(catalog) = description else {
        return Err("no tables are described".into());
    };
    let table = catalog.get("kind")?;
    let mut text = String::from("| database type | JSON, for example | OpenAPI |\n|---|---|---|\n");
    for (index, sample) in samples.iter().enumerate() {
        let position = table
            .column_index(&format!("c{index}"))
            .ok_or("a column is missing")?;
        let schema = serde_json::to_string(&schema_of_type(&table.column(position)?.kind))?;
        let example = sample.values.first().map_or("", |(_, answered)| answered);
        let _ = writeln!(
            text,
            "| `{}` | `{example}` | `{}` |",
            sample.declaration,
            if schema == "{}" { "any" } else { &schema }
        );
    }
    let folder = root().join("src/connector/database");
    let path = match name {
        // One driver serves both.
        "mariadb" => folder.join("mysql/types_mariadb.md"),
        _ => folder.join(name).join("types.md"),
    };
    compare(&path, &text)
}

/// The same for a product without a server, from the code.
pub(crate) fn types_of_code(name: &str, types: &[(String, Type, String)]) -> Result<(), Failed> {
    let mut text = String::from("| database type | JSON, for example | OpenAPI |\n|---|---|---|\n");
    for (declaration, kind, example) in types {
        let schema = serde_json::to_string(&schema_of_type(kind))?;
        let schema = if schema == "{}" { "any" } else { &schema };
        let _ = writeln!(text, "| `{declaration}` | `{example}` | `{schema}` |");
    }
    let folder = root().join("src/connector/database").join(name);
    compare(&folder.join("types.md"), &text)
}

/// Which cases each product passes, by area, in the README.
pub(crate) fn table(products: &[(&str, &Words, Start)]) -> Result<(), Failed> {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path)?;
    let (before, rest) = readme.split_once(BEGIN).ok_or("the README has no place")?;
    let (old, after) = rest.split_once(END).ok_or("the README has no end")?;
    let cases = suite();
    let mut areas: Vec<&str> = cases.iter().map(Case::area).collect();
    areas.dedup();
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        areas.join(" | "),
        "---|".repeat(areas.len())
    );
    // What is behind a driver stands last, so that the table is the same where the feature is off.
    let is_odbc = |name: &str| name.starts_with("odbc-");
    let (behind, own): (Vec<_>, Vec<_>) = products.iter().partition(|(name, ..)| is_odbc(name));
    for (name, words, _) in own.into_iter().chain(behind) {
        let cells: Vec<String> = areas
            .iter()
            .map(|area| {
                let of_area = cases.iter().filter(|case| case.area() == *area);
                let all = of_area.clone().count();
                match of_area.filter(|case| !(case.applies)(words)).count() {
                    0 => all.to_string(),
                    number => format!("{all} − {number}"),
                }
            })
            .collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    // Products of features that are off keep what is written of them.
    for line in old.lines().skip(2) {
        let name = line
            .trim_start_matches('|')
            .split('|')
            .next()
            .map(str::trim);
        let is_known = products.iter().any(|(product, ..)| Some(*product) == name);
        if !is_known
            && name.is_some_and(|name| name.starts_with("odbc"))
            && !line.contains("not run")
        {
            let _ = writeln!(text, "{line}");
        }
    }
    for (name, why) in NOT_RUN {
        let _ = writeln!(
            text,
            "| {name} | not run: {why} |{}",
            " |".repeat(areas.len().saturating_sub(1))
        );
    }
    compare(&path, &format!("{before}{BEGIN}{text}{END}{after}"))
}

fn compare(path: &Path, expected: &str) -> Result<(), Failed> {
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(path, expected)?;
        return Ok(());
    }
    if std::fs::read_to_string(path).unwrap_or_default() == expected {
        return Ok(());
    }
    Err(format!(
        "{} is out of date; run the contract tests with TIDEGATE_BLESS=1 and look at the difference",
        path.display()
    )
    .into())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
