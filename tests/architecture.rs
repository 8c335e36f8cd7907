//! Who may use whom. Reads every path that begins with `crate::` or `super::` in `src` and compares it with the
//! table below; an arrow that the table does not hold is a failed test.
//!
//! Code that exists only for tests (what stands below `#[cfg(test)]` at the foot of a file, `tests.rs` and
//! `contract.rs`) may use whatever it wants to test.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Open to every module.
const FOUNDATION: &[&str] = &["error", "names", "network", "secret", "clock", "child"];

/// A module, and what it may use besides itself and the foundation. A longer name stands for itself alone:
/// `connector::operation` admits that module and nothing else of `connector`.
const TABLE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("names", &[]),
    ("network", &[]),
    ("secret", &[]),
    ("clock", &[]),
    ("child", &[]),
    ("telemetry", &[]),
    ("exchange", &["telemetry"]),
    ("connector", &["telemetry", "exchange"]),
    (
        "auth",
        &[
            "telemetry",
            "exchange",
            "connector::operation",
            "connector::access",
            "connector::filter",
        ],
    ),
    (
        "limit",
        &[
            "telemetry",
            "exchange",
            "connector::operation",
            "connector::access",
        ],
    ),
    (
        "openapi",
        &[
            "telemetry",
            "exchange",
            "connector",
            "auth",
            // A description of a database is its catalog, with what a manifest says of the values.
            "connector::database::catalog",
            "connector::database::convert",
            "connector::database::validation",
        ],
    ),
    ("tree", &["telemetry"]),
    (
        "manifest",
        &[
            "telemetry",
            "tree",
            "auth",
            "limit",
            // The table of types, and what is needed to check a config and a row of a role.
            "connector::service_type",
            "connector::service_types",
            "connector::ServiceType",
            "connector::AnyConfig",
            "connector::Family",
            "connector::Problem",
            "connector::access",
            "connector::filter",
        ],
    ),
    (
        "snapshot",
        &[
            "telemetry",
            "exchange",
            "tree",
            "manifest",
            "connector",
            "auth",
            "limit",
            "openapi",
        ],
    ),
    (
        // What a tree changes is decided from two candidates alone; nothing is opened.
        "changes",
        &[
            "manifest",
            "connector::Description",
            "connector::access",
            "connector::filter",
            "connector::operation",
            "auth",
            "openapi",
            "snapshot::assemble",
            "snapshot::candidate",
        ],
    ),
    (
        "pipeline",
        &[
            "telemetry",
            "exchange",
            "snapshot",
            "auth",
            "limit",
            "connector",
            "openapi",
        ],
    ),
    ("http", &["telemetry", "exchange", "pipeline", "snapshot"]),
    ("watch", &["telemetry"]),
    (
        "daemon",
        &[
            "telemetry",
            "exchange",
            "connector",
            "auth",
            "limit",
            "openapi",
            "tree",
            "manifest",
            "snapshot",
            "pipeline",
            "http",
            "watch",
        ],
    ),
    (
        "cli",
        &[
            "telemetry",
            "daemon",
            "tree",
            "manifest",
            "snapshot",
            "openapi",
            "changes",
            "auth",
            "connector",
            // `status` asks a running daemon.
            "http::client",
            // `init` makes a small database.
            "connector::database::sqlite",
        ],
    ),
];

/// Families of connectors: they do not use each other, and what stands above them uses none of them.
const FAMILIES: &[&str] = &["database"];

/// Names that only the listed modules may write, and why.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (
        &["warp", "hyper", "hyper_util"],
        &["http"],
        "only `http` names a web framework",
    ),
    (
        &["std::fs", "tokio::fs"],
        &[
            "tree",
            "manifest::secrets",
            "cli",
            "daemon",
            // It looks for folders and links; what is in a file it never reads.
            "watch",
            // Its databases are files.
            "connector::database::sqlite",
        ],
        "files are read in `tree`",
    ),
    (
        &["std::env"],
        &["manifest::secrets", "cli", "daemon"],
        "the environment is read in `manifest::secrets`, `daemon` and `cli`",
    ),
    (
        &["std::process", "tokio::process"],
        &["cli", "daemon", "child", "tree::process", "tree::signature"],
        "processes are the business of `daemon`, `cli` and `tree::process`",
    ),
    (
        &["notify"],
        &["watch"],
        "only `watch` knows how files are watched",
    ),
    (
        &["sd_notify", "listenfd"],
        &["daemon"],
        "only `daemon` speaks with systemd",
    ),
    (
        &["age"],
        &["manifest::encryption"],
        "one module knows how values are encrypted",
    ),
    (
        &["rustix"],
        &["tree", "watch", "manifest::secrets", "daemon::fetch", "cli"],
        "system calls are the business of few: handles of folders, changed folders, who runs this, terminals, processes that \
         are started",
    ),
    (
        &["gix"],
        &["tree::git"],
        "only `tree::git` knows how repositories are stored",
    ),
    (
        &["rusqlite"],
        &["connector::database::sqlite"],
        "one product, one module",
    ),
    (
        &["mysql_async"],
        &["connector::database::mysql"],
        "one product, one module",
    ),
    (
        &["odbc_api"],
        &["connector::database::odbc"],
        "one way to drivers, one module",
    ),
    (
        &[
            "tokio_postgres",
            "deadpool_postgres",
            "tokio_postgres_rustls",
        ],
        &["connector::database::postgresql"],
        "one product, one module",
    ),
    (
        &["tiberius", "tokio_util"],
        &["connector::database::sqlserver"],
        "one product, one module",
    ),
    (
        &["oracledb"],
        &["connector::database::oracle::driver"],
        "what is used of a beta is used in one place",
    ),
    (
        &[
            "clap",
            "clap_complete",
            "clap_mangen",
            "anstream",
            "anstyle",
        ],
        &[
            "cli",
            "daemon",
            "manifest::diagnostic",
            "changes::text",
            "telemetry::log",
        ],
        "the terminal is the business of `cli`",
    ),
];

/// One source file and what it names.
struct Source {
    file: String,
    /// The module's path below `crate`; empty for `lib.rs`.
    module: Vec<String>,
    /// Every path written in it, with the line it stands in.
    paths: Vec<(usize, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Separator,
    Open,
    Close,
    Comma,
    Other,
}

/// Splits Rust text into the few tokens that matter here; comments and literals are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let mut index = 0;
    let mut line = 1;
    while index < characters.len() {
        let character = at(index);
        match character {
            '\n' => {
                line += 1;
                index += 1;
            }
            '/' if at(index + 1) == '/' => {
                while index < characters.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                while index < characters.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => {
                            depth += 1;
                            index += 2;
                        }
                        ('*', '/') => {
                            depth -= 1;
                            index += 2;
                        }
                        ('\n', _) => {
                            line += 1;
                            index += 1;
                        }
                        _ => index += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            'r' | 'b' if raw_string_hashes(&characters, index).is_some() => {
                let (start, hashes) = raw_string_hashes(&characters, index).unwrap();
                let closing: Vec<char> = std::iter::once('"')
                    .chain(std::iter::repeat_n('#', hashes))
                    .collect();
                index = start;
                while index < characters.len() && !characters[index..].starts_with(&closing) {
                    line += usize::from(at(index) == '\n');
                    index += 1;
                }
                index += closing.len();
                found.push((line, Token::Other));
            }
            '"' => {
                index += 1;
                while index < characters.len() && at(index) != '"' {
                    line += usize::from(at(index) == '\n');
                    if at(index) == '\\' {
                        index += 1;
                        line += usize::from(at(index) == '\n');
                    }
                    index += 1;
                }
                index += 1;
                found.push((line, Token::Other));
            }
            '\'' => {
                // A character literal, or a lifetime, which has no closing quote.
                if at(index + 1) == '\\' {
                    index += 3;
                    while index < characters.len() && at(index) != '\'' {
                        index += 1;
                    }
                    index += 1;
                } else if at(index + 2) == '\'' {
                    index += 3;
                } else {
                    index += 1;
                }
                found.push((line, Token::Other));
            }
            ':' if at(index + 1) == ':' => {
                found.push((line, Token::Separator));
                index += 2;
            }
            '{' => {
                found.push((line, Token::Open));
                index += 1;
            }
            '}' => {
                found.push((line, Token::Close));
                index += 1;
            }
            ',' => {
                found.push((line, Token::Comma));
                index += 1;
            }
            _ if character.is_alphabetic() || character == '_' => {
                let start = index;
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                found.push((line, Token::Name(characters[start..index].iter().collect())));
            }
            _ if character.is_whitespace() => index += 1,
            _ => {
                found.push((line, Token::Other));
                index += 1;
            }
        }
    }
    found
}

/// Where the text of a raw string begins and how many hashes guard it, if one begins at `index`.
fn raw_string_hashes(characters: &[char], index: usize) -> Option<(usize, usize)> {
    if index > 0 && (characters[index - 1].is_alphanumeric() || characters[index - 1] == '_') {
        return None;
    }
    let mut next = index;
    if characters.get(next) == Some(&'b') {
        next += 1;
    }
    if characters.get(next) != Some(&'r') {
        return None;
    }
    next += 1;
    let first = next;
    while characters.get(next) == Some(&'#') {
        next += 1;
    }
    (characters.get(next) == Some(&'"')).then_some((next + 1, next - first))
}

/// Every path in a token stream: `a::b::{c, d::e}` gives `a::b::c` and `a::b::d::e`.
fn paths(tokens: &[(usize, Token)]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if matches!(tokens[index].1, Token::Name(_)) {
            index = path_at(tokens, index, &[], &mut found);
        } else {
            index += 1;
        }
    }
    found
}

fn path_at(
    tokens: &[(usize, Token)],
    mut index: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens[index].0;
    while let Some((_, Token::Name(name))) = tokens.get(index) {
        path.push(name.clone());
        index += 1;
        if tokens.get(index).map(|(_, token)| token) != Some(&Token::Separator) {
            break;
        }
        index += 1;
        if tokens.get(index).map(|(_, token)| token) == Some(&Token::Open) {
            index += 1;
            while index < tokens.len() {
                match tokens[index].1 {
                    Token::Close => return index + 1,
                    Token::Name(_) => index = path_at(tokens, index, &path, found),
                    _ => index += 1,
                }
            }
            return index;
        }
    }
    found.push((line, path));
    index
}

/// The part of a file that is compiled into the program: everything before the tests at its foot.
fn without_tests(text: &str) -> &str {
    text.match_indices("#[cfg(test)]")
        .find(|(start, marker)| {
            let rest = text[start + marker.len()..].trim_start();
            rest.strip_prefix("mod ").is_some_and(|rest| {
                rest.split(';')
                    .next()
                    .is_some_and(|name| name.contains('{'))
            })
        })
        .map_or(text, |(start, _)| &text[..start])
}

fn read_source(file: &str, module: Vec<String>, text: &str) -> Source {
    let mut source = Source {
        file: file.to_owned(),
        module,
        paths: paths(&tokens(without_tests(text))),
    };
    for (_, path) in &mut source.paths {
        *path = absolute(&source.module, path);
    }
    source
}

/// `crate::a`, `self::a` and `super::a` as paths below the crate, with `crate` in front.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let mut base: Vec<String> = module.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str) {
        Some("self") => rest = &path[1..],
        Some("super") => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return path.to_vec(),
    }
    std::iter::once("crate".to_owned())
        .chain(base)
        .chain(rest.iter().cloned())
        .collect()
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let mut segments = path.iter();
    prefix
        .split("::")
        .all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
}

/// Every rule that one file breaks.
fn violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let here = |line: usize| format!("{}:{line}", source.file);
    let own = source.module.first().map_or("", String::as_str);
    for (line, path) in &source.paths {
        if path.first().is_some_and(|segment| segment == "crate") {
            let path = &path[1..];
            let Some(target) = path.first() else { continue };
            let named = path.join("::");
            if own.is_empty() || target == own {
                found.extend(
                    family_violation(&source.module, path)
                        .map(|why| format!("{}: `{named}`: {why}", here(*line))),
                );
                continue;
            }
            let allowed = TABLE
                .iter()
                .find(|(module, _)| *module == own)
                .map(|(_, allowed)| *allowed);
            let Some(allowed) = allowed else {
                found.push(format!(
                    "{}: module `{own}` is not in the table",
                    here(*line)
                ));
                continue;
            };
            let admitted = FOUNDATION.contains(&target.as_str()) && !FOUNDATION.contains(&own)
                || FOUNDATION.contains(&own) && FOUNDATION.contains(&target.as_str())
                || allowed.iter().any(|prefix| starts_with(path, prefix));
            if !admitted {
                found.push(format!("{}: `{own}` may not use `{named}`", here(*line)));
            }
            // Families are an inside matter of `connector`, but for what the table names.
            let is_named = allowed
                .iter()
                .any(|prefix| prefix.matches("::").count() > 1 && starts_with(path, prefix));
            if !is_named
                && target == "connector"
                && path
                    .get(1)
                    .is_some_and(|name| FAMILIES.contains(&name.as_str()))
            {
                found.push(format!(
                    "{}: `{own}` reaches into a family: `{named}`",
                    here(*line)
                ));
            }
        } else {
            for (names, modules, why) in RESERVED {
                let written = path.join("::");
                let is_reserved =
                    path.len() > 1 && names.iter().any(|name| starts_with(path, name));
                let is_allowed = modules
                    .iter()
                    .any(|module| starts_with(&source.module, module));
                if is_reserved && !is_allowed {
                    found.push(format!("{}: `{written}`: {why}", here(*line)));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Inside `connector`: families do not use each other, and only the list of types names a family.
fn family_violation(module: &[String], path: &[String]) -> Option<String> {
    if module.first().is_none_or(|own| own != "connector") {
        return None;
    }
    let family = |path: &[String]| {
        path.get(1)
            .filter(|name| FAMILIES.contains(&name.as_str()))
            .cloned()
    };
    let target = family(path)?;
    match family(module) {
        Some(own) if own == target => None,
        Some(own) => Some(format!("family `{own}` uses family `{target}`")),
        None if module.len() == 1 => None,
        None => Some(format!("what stands above the families uses `{target}`")),
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .strip_prefix(source_root())
        .unwrap()
        .with_extension("")
        .components()
        .map(|component| component.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|name| name == "mod") || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    module
}

/// The files of the program; those that only tests compile are left out.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    rust_files(&source_root(), &mut files);
    files
        .iter()
        .filter(|file| !is_for_tests(file))
        .map(|file| {
            let name = file.strip_prefix(source_root()).unwrap();
            read_source(
                &name.display().to_string(),
                module_of(file),
                &fs::read_to_string(file).unwrap(),
            )
        })
        .collect()
}

fn is_for_tests(file: &Path) -> bool {
    file.components().any(|component| {
        let name = component.as_os_str().to_str().unwrap();
        matches!(name, "tests.rs" | "tests" | "contract.rs" | "contract")
            || name.ends_with("_tests.rs")
    })
}

#[test]
fn modules_use_only_what_the_table_admits() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| source.file != "main.rs")
        .flat_map(violations)
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_table_is_in_the_order_of_lib_rs_and_names_every_module() {
    let text = fs::read_to_string(source_root().join("lib.rs")).unwrap();
    let declared: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect();
    let known: BTreeMap<&str, usize> = TABLE
        .iter()
        .enumerate()
        .map(|(position, (module, _))| (*module, position))
        .collect();
    for module in &declared {
        assert!(known.contains_key(module), "`{module}` is not in the table");
    }
    // A row may only admit what stands before it: that is what keeps the arrows from going round in circles.
    for (position, (module, allowed)) in TABLE.iter().enumerate() {
        for used in *allowed {
            let target = used.split("::").next().unwrap();
            assert!(
                known[target] < position,
                "`{module}` → `{used}` points down"
            );
        }
    }
}

#[test]
fn every_file_belongs_to_a_module() {
    let mut files = Vec::new();
    rust_files(&source_root(), &mut files);
    let mut orphans = Vec::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap();
        let (parents, module) = if name == "mod" {
            let up = folder.parent().unwrap();
            (
                vec![up.join("mod.rs"), up.join("lib.rs")],
                folder.file_name().unwrap().to_str().unwrap(),
            )
        } else {
            (
                vec![
                    folder.join("mod.rs"),
                    folder.join("lib.rs"),
                    folder.with_extension("rs"),
                ],
                name,
            )
        };
        if folder == source_root() && matches!(name, "lib" | "main") {
            continue;
        }
        let is_declared = parents
            .iter()
            .filter_map(|parent| fs::read_to_string(parent).ok())
            .any(|text| text.contains(&format!("mod {module};")));
        if !is_declared {
            orphans.push(file.display().to_string());
        }
    }
    assert!(orphans.is_empty(), "no `mod` line names {orphans:?}");
}

#[test]
fn the_files_of_a_family_are_the_entries_of_its_table() {
    for family in FAMILIES {
        let folder = source_root().join("connector").join(family);
        let registration = fs::read_to_string(folder.join("mod.rs")).unwrap();
        let registered: BTreeSet<String> = registration
            .split("ServiceType::of::<")
            .skip(1)
            .filter_map(|rest| rest.split(">()").next())
            .filter_map(|path| path.split("::").next().map(str::to_owned))
            .collect();
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        let written: BTreeSet<String> = files
            .iter()
            .filter(|file| !is_for_tests(file))
            .filter(|file| {
                let text = fs::read_to_string(file).unwrap();
                without_tests(&text).contains("ServiceConfig for ")
            })
            .map(|file| {
                let inside = file.strip_prefix(&folder).unwrap();
                let first = inside.components().next().unwrap();
                Path::new(first.as_os_str())
                    .with_extension("")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(
            registered, written,
            "TYPES of `connector::{family}` and the files with a ServiceConfig differ"
        );
    }
}

mod on_sample_text {
    use super::*;

    fn broken(module: &str, text: &str) -> Vec<String> {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        violations(&read_source("sample.rs", module, text))
    }

    #[test]
    fn a_forbidden_use_is_found_with_its_line() {
        let found = broken(
            "tree::directory",
            "\nuse crate::error::Error;\nuse crate::manifest::load;\n",
        );
        assert_eq!(found, ["sample.rs:3: `tree` may not use `manifest::load`"]);
    }

    #[test]
    fn groups_inline_paths_and_super_are_followed() {
        assert_eq!(
            broken(
                "watch",
                "use crate::{error::Error, snapshot::{self, plan}};"
            )
            .len(),
            2
        );
        assert_eq!(
            broken("limit", "fn f() { crate::snapshot::build() }").len(),
            1
        );
        assert_eq!(
            broken("limit::bucket", "use super::super::pipeline::Gateway;").len(),
            1
        );
        assert!(broken("limit::bucket", "use super::store::Store;").is_empty());
    }

    #[test]
    fn a_longer_entry_admits_that_module_alone() {
        assert!(broken("auth", "use crate::connector::access::Access;").is_empty());
        assert_eq!(broken("auth", "use crate::connector::Connector;").len(), 1);
        assert_eq!(
            broken("manifest", "use crate::connector::Connector;").len(),
            1
        );
    }

    #[test]
    fn families_stay_apart_and_nobody_reaches_into_them() {
        assert!(broken("connector::database::plan", "use super::rows::Rows;").is_empty());
        assert!(
            broken(
                "connector::database::plan",
                "use crate::connector::filter::Filter;"
            )
            .is_empty()
        );
        assert!(
            broken(
                "connector",
                "fn f() { database::TYPES; crate::connector::database::TYPES; }"
            )
            .is_empty()
        );
        assert_eq!(
            broken("connector::access", "use super::database::plan::Plan;").len(),
            1
        );
        assert_eq!(
            broken(
                "openapi",
                "use crate::connector::database::planner::Planner;"
            )
            .len(),
            1
        );
    }

    #[test]
    fn reserved_names_stay_where_they_belong() {
        assert_eq!(broken("pipeline", "use warp::Filter;").len(), 1);
        assert!(broken("http::filter", "use warp::Filter;").is_empty());
        assert_eq!(broken("connector", "std::fs::read(path)").len(), 1);
        assert_eq!(broken("snapshot", "use std::{env, fs};").len(), 2);
        assert!(broken("manifest::secrets", "std::env::var_os(name)").is_empty());
    }

    #[test]
    fn comments_literals_and_tests_do_not_count() {
        let text = r##"
            //! Not crate::daemon::run.
            /* nor crate::cli::main /* nor */ crate::cli::main */
            const TEXT: &str = "crate::daemon \" crate::daemon";
            const RAW: &str = r#"crate::daemon "quoted" crate::daemon"#;
            const QUOTE: char = '"';
            fn borrowed<'a>(text: &'a str) -> &'a str { text }
            #[cfg(test)]
            mod tests { use crate::daemon::run; }
        "##;
        assert!(broken("tree", text).is_empty());
        let after = format!(
            "{}\nuse crate::cli::main;",
            text.split("#[cfg(test)]").next().unwrap()
        );
        assert_eq!(broken("tree", &after).len(), 1);
    }
}
