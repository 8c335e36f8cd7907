//! Where a tree comes from, and what opens its secrets: the flags that several commands share.

use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches as _};

use super::Failure;
use crate::manifest::secrets::Machine;
use crate::tree::{Source, Sources};

/// Where the manifests and the data are.
#[derive(Clone, Debug, Args)]
pub struct SourceArguments {
    /// The folder of manifests, or a folder in a commit of a repository: `git:PATH#REF[:SUBDIR]`. Given several times (or
    /// with commas), later ones lie above earlier ones.
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "gateway.d",
        value_delimiter = ',',
        value_parser = str::parse::<Source>,
        env = "TIDEGATE_CONFIG"
    )]
    config: Vec<Source>,
    /// Where relative paths of data start (databases, file stores). Default: the first folder of manifests; must be given
    /// where all sources are commits.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Who may have signed what is read.
    #[command(flatten)]
    signature: SignatureArguments,
}

impl SourceArguments {
    /// What counts where the command line says nothing: `TIDEGATE_CONFIG`, else the default.
    pub(super) fn unsaid() -> Result<Self, Failure> {
        let command = Self::augment_args(Command::new("tidegate").no_binary_name(true));
        command
            .try_get_matches_from([""; 0])
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// The sources, the lowest first. Exit code 2 when one is given twice, or cannot be signed.
    pub(super) fn sources(&self) -> Result<Sources, Failure> {
        self.signature.demand(layers(&self.config)?)
    }

    /// Where relative paths of data start. Exit code 2 when nobody can know.
    pub(super) fn data_directory(&self) -> Result<PathBuf, Failure> {
        let folder = self.config.iter().find_map(Source::folder);
        self.data_dir
            .as_deref()
            .or(folder)
            .map(Path::to_owned)
            .ok_or_else(|| {
                Failure::usage("no place for relative paths of data")
                    .with_help("add --data-dir DIR")
            })
    }
}

/// One tree of several layers, the lowest first. Exit code 2 when one is given twice.
pub(super) fn layers(sources: &[Source]) -> Result<Sources, Failure> {
    let sources = Sources::new(sources.iter().cloned());
    match sources.repeated() {
        None => Ok(sources),
        Some(twice) => Err(Failure::usage(format!("the layer {twice} is given twice"))
            .with_help("give each layer once, the lowest first")),
    }
}

/// Who may have signed the commits that are read.
#[derive(Clone, Debug, Default, Args)]
pub struct SignatureArguments {
    /// Refuses every commit that is not signed by somebody whom this file names: lines as in the `allowed_signers` of
    /// ssh-keygen, and armoured OpenPGP public keys. For sources git:… only.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_REQUIRE_SIGNED")]
    require_signed: Option<PathBuf>,
}

impl SignatureArguments {
    /// The sources, with signatures if they are asked for. Exit code 2 when one of them is no commit.
    pub(super) fn demand(&self, sources: Sources) -> Result<Sources, Failure> {
        let Some(signers) = &self.require_signed else {
            return Ok(sources);
        };
        sources.signed(signers.clone()).map_err(|source| {
            Failure::usage(format!(
                "--require-signed is given, and {source} is no commit of a repository"
            ))
            .with_help(
                "read the manifests from a commit: --config git:/srv/config.git#main:gateway.d",
            )
        })
    }
}

/// What opens the secrets of a tree.
#[derive(Clone, Debug, Default, Args)]
pub struct SecretArguments {
    /// The file with the private keys of this host, which open secrets written as { age = "…" }. Default: the systemd
    /// credential `age-identity`.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_AGE_IDENTITY")]
    age_identity: Option<PathBuf>,
}

impl SecretArguments {
    /// The secrets of this machine.
    pub(super) fn machine(&self) -> Machine {
        Machine::new(self.age_identity.clone())
    }
}
