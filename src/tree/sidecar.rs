//! Files beside the manifests that manifests name, and that belong to the tree for that reason alone: the contract files
//! of services. This is all that the tree knows of what a manifest says. Pure but for [`write()`].

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use memchr::memmem;

/// The name of a manifest ends so; everything else in a tree was named by one.
pub const MANIFEST: &str = ".toml";

/// The key of a service's config that says that there is a contract.
const CONTRACT: &str = "contract";
/// The key that names its file.
const CONTRACT_FILE: &str = "contract_file";

/// The file of a service's contract within the tree, as the manifest (by its name in the tree) means it; `file` is what
/// the manifest writes. None for a path that leads out of the tree, is absolute, hidden, or that of a manifest.
pub fn contract(manifest: &str, service: &str, file: Option<&str>) -> Option<String> {
    let default = format!("contracts/{service}.json");
    inside(manifest, file.unwrap_or(&default))
}

/// A path relative to a manifest as a name within the tree.
fn inside(manifest: &str, path: &str) -> Option<String> {
    if path.starts_with('/')
        || path.ends_with('/')
        || path.ends_with(MANIFEST)
        || path.contains('\0')
    {
        return None;
    }
    let mut steps: Vec<&str> = manifest.split('/').collect();
    steps.pop();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop()?;
            }
            hidden if hidden.starts_with('.') => return None,
            step => steps.push(step),
        }
    }
    (!steps.is_empty()).then(|| steps.join("/"))
}

/// The files that a manifest names, by their names within the tree. One that cannot be read names none.
fn named(manifest: &str, bytes: &[u8]) -> Vec<String> {
    // Few manifests name any, and all of them are looked at each time the tree is read.
    if memmem::find(bytes, CONTRACT.as_bytes()).is_none() {
        return Vec::new();
    }
    let Some(tables) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
    else {
        return Vec::new();
    };
    let services = tables.get("service").and_then(toml::Value::as_table);
    let services = services.into_iter().flatten();
    services
        .filter_map(|(name, service)| {
            let config = service.get("config")?;
            config.get(CONTRACT)?;
            let file = config.get(CONTRACT_FILE).and_then(toml::Value::as_str);
            contract(manifest, name, file)
        })
        .collect()
}

/// The files that these manifests name, each once.
pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> BTreeSet<String> {
    files
        .into_iter()
        .filter(|(name, _)| name.ends_with(MANIFEST))
        .flat_map(|(name, bytes)| named(name, bytes))
        .collect()
}

/// Writes a file into a folder of manifests, with the folders on its way.
#[expect(
    clippy::disallowed_methods,
    reason = "files are written in tree only; only the command line calls it, which may block"
)]
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    if let Some(around) = path.parent() {
        fs::create_dir_all(around)?;
    }
    // In one step, so that a daemon that watches the folder never reads half of it. Hidden names do not count.
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{file}.new"));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_manifest_and_stay_in_the_tree() {
        for (manifest, path, expected) in [
            ("a.toml", "contracts/s.json", Some("contracts/s.json")),
            ("shops/a.toml", "s.json", Some("shops/s.json")),
            ("shops/a.toml", "../locked/./s.json", Some("locked/s.json")),
            ("a.toml", "../s.json", None),
            ("shops/a.toml", "../../s.json", None),
            ("a.toml", "/etc/passwd", None),
            ("a.toml", ".git/config", None),
            ("a.toml", "b.toml", None),
            ("a.toml", "folder/", None),
            ("a.toml", "", None),
        ] {
            assert_eq!(
                inside(manifest, path).as_deref(),
                expected,
                "{manifest}: {path}"
            );
        }
    }

    #[test]
    fn only_services_with_a_contract_name_a_file() {
        let text = "[service.a.config]\ncontract = 'warn'\n[service.b]\nconfig = { contract = 'strict', contract_file = '../b.json' }\n\
                    [service.c.config]\ncontract_file = 'c.json'\n[role.contract]\n";
        let files = [("x/y.toml", text.as_bytes()), ("z.json", text.as_bytes())];
        let named: Vec<String> = of(files).into_iter().collect();
        assert_eq!(named, ["b.json", "x/contracts/a.json"]);
        assert!(of([("x.toml", b"contract = [".as_slice())]).is_empty());
    }
}
