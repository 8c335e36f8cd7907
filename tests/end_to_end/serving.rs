//! Does the tree that comes with the program work?

use std::path::Path;

use serde_json::Value;

use crate::support::TestGateway;

const KEY: &str = "demo-key-for-northwind";

#[test]
fn northwind_is_served_with_its_tables_relations_and_documentation() {
    let gateway = TestGateway::start("gateway.d");
    let client = gateway.client_with(KEY);

    let services = client.get("/api/v2");
    let names: Vec<Value> = services.expect_ok().json()["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["name"].clone())
        .collect();
    assert_eq!(names, ["northwind"]);

    let root = client.get("/api/v2/northwind").records();
    let names: Vec<&Value> = root.iter().map(|resource| &resource["name"]).collect();
    assert_eq!(names, ["_schema", "_table"]);

    let tables = client.get("/api/v2/northwind/_table").records();
    assert!(tables.len() >= 8, "{tables:?}");
    let mut rows = 0;
    for table in &tables {
        let name = table["name"].as_str().unwrap();
        let path = format!("/api/v2/northwind/_table/{name}");
        let count = client.query(&path, &[("count_only", "true")]);
        rows += count.expect_ok().json().as_u64().unwrap();
        let first = client.query(&path, &[("limit", "1")]);
        assert_eq!(first.records().len(), 1, "{name}");
        let described = client.get(&format!("/api/v2/northwind/_schema/{name}"));
        let described = described.expect_ok().json();
        assert!(!described["field"].as_array().unwrap().is_empty(), "{name}");
        // Every relation that is described can be embedded.
        let related = client.query(&path, &[("limit", "1"), ("related", "*")]);
        related.expect_ok();
    }
    assert!(rows > 3_000, "{rows} rows in all");

    let document = client.get("/api/v2/api_docs/northwind");
    let paths = document.expect_ok().json()["paths"].to_string();
    for table in &tables {
        let name = table["name"].as_str().unwrap();
        assert!(paths.contains(&format!("/_table/{name}")), "{name}");
    }
    gateway.stop();
}

#[test]
fn the_sample_database_is_small_and_has_its_licence_beside_it() {
    let mut found = 0;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.d");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "db") {
                found += 1;
                let length = path.metadata().unwrap().len();
                assert!((10_000..5_000_000).contains(&length), "{length} bytes");
                let has_licence = std::fs::read_dir(&folder).unwrap().any(|entry| {
                    let name = entry.unwrap().file_name();
                    name.to_string_lossy().to_uppercase().contains("LICENSE")
                });
                assert!(has_licence, "no licence beside {}", path.display());
            }
        }
    }
    assert_eq!(found, 1);
}
