//! Do the repository layouts in `examples/` work as they stand: trees, review, settings of hosts, manifests of
//! Kubernetes?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::gateway::binary;
use crate::support::git::git;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// A copy of an example as a repository of its own, whose branch is also what a pull request goes into.
struct Clone {
    folder: tempfile::TempDir,
}

impl Clone {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["-r", "--"])
            .arg(example(name).join("."))
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(copied.success());
        git(folder.path(), &["init", "--quiet"]);
        let clone = Self { folder };
        clone.commit();
        git(
            clone.folder.path(),
            &["update-ref", "refs/remotes/origin/main", "HEAD"],
        );
        clone
    }

    fn commit(&self) {
        git(self.folder.path(), &["add", "--all"]);
        git(self.folder.path(), &["commit", "--quiet", "--message", "x"]);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        self.commit();
    }

    /// Runs a step of the workflow as its runner does.
    fn step(&self, name: &str) -> Output {
        let workflow = self.folder.path().join(".github/workflows/review.yml");
        let script = script(&std::fs::read_to_string(workflow).unwrap(), name);
        let mut path = binary().parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        Command::new("bash")
            .args(["-e", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("BASE", "origin/main")
            .env("GITHUB_STEP_SUMMARY", self.summary())
            .output()
            .unwrap()
    }

    fn summary(&self) -> PathBuf {
        self.folder.path().join("summary.md")
    }
}

/// The script of the step whose name begins so.
fn script(workflow: &str, name: &str) -> String {
    let (_, step) = workflow
        .split_once(&format!("- name: {name}"))
        .unwrap_or_else(|| panic!("no step {name}"));
    let step = step.split("\n      - ").next().unwrap();
    let (_, script) = step.split_once("        run: ").unwrap();
    script.trim_start_matches('|').to_owned()
}

fn expect_good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

const EXAMPLES: [&str; 3] = ["single-host", "fleet", "kubernetes"];

#[test]
fn the_review_of_each_example_passes_as_it_stands_and_stops_what_it_should() {
    for name in EXAMPLES {
        let clone = Clone::of(name);
        let checked = expect_good(&clone.step("Check"));
        assert!(checked.contains("no problems"), "{name}: {checked}");
        expect_good(&clone.step("Plan"));
        let summary = std::fs::read_to_string(clone.summary()).unwrap();
        assert!(
            summary.to_lowercase().contains("no changes"),
            "{name}: {summary}"
        );
        expect_good(&clone.step("Wider access"));

        // Wider access is in the plan, and needs the label.
        let (file, position) = match name {
            "single-host" => ("gateway.d/access/roles.toml", "gateway.d/access/roles.toml"),
            "fleet" => ("base/access.toml", "base/access.toml"),
            _ => ("gateway.d/access.toml", "gateway.d/access.toml"),
        };
        clone.edit(file, "verbs = [\"GET\"]", "verbs = [\"GET\", \"DELETE\"]");
        expect_good(&clone.step("Plan"));
        let summary = std::fs::read_to_string(clone.summary()).unwrap();
        assert!(
            summary.contains("DELETE") && summary.contains(position),
            "{name}: {summary}"
        );
        assert_eq!(clone.step("Wider access").status.code(), Some(1), "{name}");

        // What breaks an expectation does not pass the check.
        let (from, to) = match name {
            "single-host" => ("[\"GET\", \"POST\"]", "[\"GET\"]"),
            _ => ("[\"GET\", \"DELETE\"]", "[\"POST\"]"),
        };
        clone.edit(file, from, to);
        assert_eq!(clone.step("Check").status.code(), Some(1), "{name}");
    }
}

#[test]
fn every_setting_of_the_hosts_is_one_of_the_daemon() {
    let help = Command::new(binary())
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut seen = BTreeSet::new();
    for name in ["single-host", "fleet"] {
        let text = std::fs::read_to_string(example(name).join("host/tidegate.env")).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (variable, _) = line.split_once('=').unwrap();
            assert!(
                help.contains(&format!("[env: {variable}=")),
                "{name}: {variable}"
            );
            seen.insert(variable.to_owned());
        }
    }
    assert!(seen.len() >= 3, "{seen:?}");
    for way in ["config-map", "git-sync"] {
        let folder = example("kubernetes").join("deploy").join(way);
        let text = std::fs::read_to_string(folder.join("deployment.yaml")).unwrap();
        let (_, daemon) = text.split_once("- name: tidegate\n").unwrap();
        let arguments = daemon.split("ports:").next().unwrap();
        let flags = arguments.lines().filter_map(|line| {
            let flag = line.trim().strip_prefix("- --")?;
            Some(format!("--{}", flag.split('=').next().unwrap()))
        });
        let mut count = 0;
        for flag in flags {
            assert!(help.contains(&flag), "{way}: {flag}");
            count += 1;
        }
        assert!(count >= 5, "{way}: {count} flags");
        let kustomization = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let files = kustomization.lines().filter_map(|line| {
            let file = line.trim().strip_prefix("- ")?;
            let is_file = Path::new(file).extension().is_some();
            is_file.then(|| folder.join(file))
        });
        let mut count = 0;
        for file in files {
            assert!(file.is_file(), "{}", file.display());
            count += 1;
        }
        assert!(count >= 1, "{way} names no file");
    }
}
