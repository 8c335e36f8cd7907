//! A tree → everything it says, checked as far as it can be without opening anything. The daemon, `check`, `plan` and
//! `explain` all begin here, so that what passes review is what the daemon accepts. Pure but for the secrets.

use super::expect;
use crate::manifest::{
    Cache, Configs, Diagnostic, Diagnostics, ManifestSet, Schemas, SecretSource, load_again,
};
use crate::tree::Tree;

/// What a tree says, ready to be built.
pub struct Candidate {
    /// The tree.
    pub tree: Tree,
    /// What its manifests say.
    pub set: ManifestSet,
    /// The configs of its services, with the values of their secrets.
    pub configs: Configs,
}

impl Candidate {
    /// Loads a tree, types it and puts its access tests to it. Fails with everything that is wrong with it.
    pub fn of(tree: Tree, secrets: &dyn SecretSource) -> Result<Self, Diagnostics> {
        Self::again(tree, secrets, &mut Cache::default())
    }

    /// The same, faster where the tree is much like the last one that was loaded with `cache`.
    pub fn again(
        tree: Tree,
        secrets: &dyn SecretSource,
        cache: &mut Cache,
    ) -> Result<Self, Diagnostics> {
        let candidate = Self::untested_again(tree, secrets, cache)?;
        let failures = expect::failures(&candidate.set, &candidate.configs);
        if failures.is_empty() {
            Ok(candidate)
        } else {
            Err(candidate.set.problems(failures))
        }
    }

    /// The same whether or not its access tests hold: good to explain why one does not, and for nothing that is served.
    pub fn untested(tree: Tree, secrets: &dyn SecretSource) -> Result<Self, Diagnostics> {
        Self::untested_again(tree, secrets, &mut Cache::default())
    }

    fn untested_again(
        tree: Tree,
        secrets: &dyn SecretSource,
        cache: &mut Cache,
    ) -> Result<Self, Diagnostics> {
        let mut set = load_again(&tree, Schemas::standard(), cache)?;
        let configs = set.configs(secrets)?;
        if let Some(caution) = secrets.caution() {
            let warning = Diagnostic::warning(None, caution.message).with_help(caution.help);
            set.warnings = set.warnings.with(warning);
        }
        Ok(Self { tree, set, configs })
    }
}
