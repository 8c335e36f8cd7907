//! What the documentation says is so: its TOML loads, its tables are complete, examples check, the schema is fresh.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should panic, and it reads the files of the repository"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schemars::SchemaGenerator;
use serde_json::Value;
use tidegate::auth::reason::Reason;
use tidegate::changes::Class;
use tidegate::connector::service_types;
use tidegate::error::ErrorKind;
use tidegate::manifest;
use tidegate::manifest::schema::editor_schema;
use tidegate::manifest::secrets::Placeholders;
use tidegate::snapshot::candidate::Candidate;
use tidegate::tree::{Layer, Provenance, Tree};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    text.split(&opening)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// The text from a heading to the next one of the same or a higher level.
fn section(text: &str, heading: &str) -> String {
    let start = text.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    let level = heading
        .trim_start()
        .chars()
        .take_while(|character| *character == '#')
        .count();
    let body = &text[start + heading.len()..];
    let end = body
        .match_indices("\n#")
        .map(|(position, _)| position)
        .find(|position| {
            let line = body[position + 1..].lines().next().unwrap_or_default();
            let depth = line
                .chars()
                .take_while(|character| *character == '#')
                .count();
            depth <= level && line[depth..].starts_with(' ')
        })
        .unwrap_or(body.len());
    body[..end].to_owned()
}

/// The files of a layer, and what stands before their names.
type Files = (String, Vec<(String, Vec<u8>)>);

fn loads(layers: Vec<Files>) -> manifest::ManifestSet {
    let layers = layers
        .into_iter()
        .map(|(label, files)| Layer::new(label, files, Provenance::default()));
    match Candidate::of(Tree::of(layers.collect()), &Placeholders) {
        Ok(candidate) => candidate.set,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

#[test]
fn every_toml_block_of_the_readme_is_part_of_a_tree_that_loads() {
    // What is a layer above the others says so.
    let readme = readme();
    let (below, above) = readme.split_once("<!-- tests: a layer above -->").unwrap();
    let (above, rest) = above
        .split_once("<!-- tests: the layer below again -->")
        .unwrap();
    let files = |label: &str, texts: &[&str]| -> Files {
        let blocks = texts.iter().flat_map(|text| blocks(text, "toml"));
        let files = blocks
            .enumerate()
            .map(|(number, text)| (format!("block-{number}.toml"), text.into_bytes()));
        (label.to_owned(), files.collect())
    };
    let layers = vec![files("README.md", &[below, rest]), files("above", &[above])];
    assert!(layers[0].1.len() >= 4, "the README shows manifests");
    let set = loads(layers);
    assert!(set.services.len() >= 2 && set.roles.len() >= 2 && set.keys.len() >= 2);
    assert!(!set.expectations.is_empty());
}

#[test]
fn the_trees_of_the_repository_load() {
    let overlays = root().join("examples/overlays");
    let base = overlays.join("base");
    let mut trees = vec![
        vec![root().join("gateway.d")],
        vec![base.clone()],
        vec![base, overlays.join("prod")],
    ];
    let fleet = root().join("examples/fleet");
    for site in fs::read_dir(fleet.join("sites")).unwrap() {
        trees.push(vec![fleet.join("base"), site.unwrap().path()]);
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path != overlays && path != fleet {
            trees.push(vec![path]);
        }
    }
    for folders in trees {
        let layers = folders.iter().map(|folder| {
            let mut files = Vec::new();
            collect(folder, folder, &mut files);
            assert!(!files.is_empty(), "{} has no manifest", folder.display());
            (folder.display().to_string(), files)
        });
        let set = loads(layers.collect());
        assert!(!set.is_empty() && set.warnings.is_empty());
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let schema = first
                .strip_prefix("#:schema ")
                .unwrap_or_else(|| panic!("{}: no #:schema line for editors", path.display()));
            let target = path.parent().unwrap().join(schema.trim());
            assert!(
                target.is_file(),
                "{}: {schema} is not there",
                path.display()
            );
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.push((name, text.into_bytes()));
        }
    }
}

#[test]
fn the_committed_schema_is_the_one_that_the_types_give() {
    let path = root().join("schema/manifest.schema.json");
    let committed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        committed == editor_schema(service_types()),
        "{} is stale: run `just generate`",
        path.display()
    );
}

#[test]
fn the_table_of_errors_is_the_list_of_kinds() {
    let section = section(&readme(), "\n## Errors");
    let rows: Vec<(String, String)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| {
            let (name, rest) = line.split_once("` | ")?;
            Some((name.to_owned(), rest.split(" |").next()?.to_owned()))
        })
        .collect();
    let kinds: Vec<(String, String)> = ErrorKind::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), kind.status().as_u16().to_string()))
        .collect();
    assert_eq!(rows, kinds);
}

#[test]
fn the_table_of_reasons_is_the_list_of_reasons() {
    let section = section(&readme(), "\n### Reasons");
    let rows: Vec<(String, String)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| {
            let (name, rest) = line.split_once("` | ")?;
            Some((name.to_owned(), rest.split(" |").next()?.to_owned()))
        })
        .collect();
    let reasons: Vec<(String, String)> = Reason::ALL
        .iter()
        .map(|reason| (reason.name().to_owned(), reason.decision().to_owned()))
        .collect();
    assert_eq!(rows, reasons);
}

/// The names in the first column of the tables of a text.
fn keys_in(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('`').nth(1).map(str::to_owned))
        .collect()
}

fn properties(schema: &Value) -> BTreeSet<String> {
    schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_service_type_and_every_key_of_its_config_is_described() {
    let services = section(&readme(), "\n## Services");
    let shared = keys_in(services.split("<!-- config:").next().unwrap());
    for kind in service_types() {
        let marker = format!("<!-- config: {} -->", kind.name);
        let start = services
            .find(&marker)
            .unwrap_or_else(|| panic!("the README does not describe `{}`", kind.name));
        // Markers that follow one another share a table.
        let mut rest = services[start + marker.len()..].trim_start();
        while rest.starts_with("<!-- config:") {
            rest = rest.split_once("-->").unwrap().1.trim_start();
        }
        let own = rest.split("<!-- config:").next().unwrap();
        let described: BTreeSet<String> = keys_in(own).union(&shared).cloned().collect();
        let mut generator = SchemaGenerator::default();
        let mut schema = (kind.schema)(&mut generator).to_value();
        while let Some(path) = schema["$ref"].as_str() {
            let name = path.rsplit('/').next().unwrap();
            schema = generator.definitions()[name].clone();
        }
        assert_eq!(
            properties(&schema),
            described,
            "the table of `{}`",
            kind.name
        );
    }
}

#[test]
fn the_tables_of_gateway_access_rows_and_access_tests_are_complete() {
    let schema = editor_schema(service_types());
    let definitions = schema["definitions"].as_object().unwrap();
    let of = |name: &str| {
        properties(
            definitions
                .get(name)
                .unwrap_or_else(|| panic!("no {name} in {:?}", definitions.keys())),
        )
    };
    assert_eq!(
        keys_in(&section(&readme(), "\n## Manifests")),
        of("Gateway")
    );
    assert_eq!(keys_in(&section(&readme(), "\n## Roles")), of("AccessRow"));
    let tests = section(&readme(), "\n## Access tests");
    let table = tests.split("\n### ").next().unwrap();
    assert_eq!(keys_in(table), of("ExpectTable"));
}

#[test]
fn every_class_of_changes_is_described() {
    let section = section(&readme(), "\n## Plans");
    let described: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" | ").next().unwrap().split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let classes: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(described, classes);
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let text = readme();
    let anchors: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-")
        })
        .collect();
    for target in text
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
    {
        match target.strip_prefix('#') {
            Some(anchor) => assert!(anchors.contains(anchor), "#{anchor}"),
            None if target.starts_with("http") => {}
            None => assert!(root().join(target).exists(), "{target}"),
        }
    }
}
