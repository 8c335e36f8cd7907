//! The command line: one file for each subcommand.

mod check;
mod completions;
mod contract;
mod duration;
mod explain;
mod init;
mod key;
mod man;
mod openapi;
mod plan;
mod schema;
mod secret;
pub mod serve;
pub mod sources;
mod status;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Exit code: everything is good.
pub const GOOD: u8 = 0;
/// Exit code: problems were found.
pub const PROBLEMS: u8 = 1;
/// Exit code: the command itself was wrong.
pub const USAGE: u8 = 2;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How results are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RequestedFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request; only `plan` writes it.
    Markdown,
}

impl RequestedFormat {
    /// The format of a command that writes text and JSON. Exit code 2 for any other.
    fn text_or_json(self) -> Result<OutputFormat, Failure> {
        match self {
            Self::Text => Ok(OutputFormat::Text),
            Self::Json => Ok(OutputFormat::Json),
            Self::Markdown => Err(Failure::usage("only `plan` writes Markdown")
                .with_help("use --format text or --format json")),
        }
    }
}

/// A gateway that turns a directory of TOML manifests into a secured REST interface.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArguments,
    /// How results are written.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "TIDEGATE_FORMAT"
    )]
    format: RequestedFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a folder of manifests; what happens without a subcommand.
    Serve(serve::ServeArguments),
    /// Finds everything that is wrong with folders of manifests.
    Check(check::CheckArguments),
    /// Says what a tree changes for those who use another one.
    Plan(plan::PlanArguments),
    /// Says what a request with a key would come to, and why.
    Explain(explain::ExplainArguments),
    /// Says what a running daemon serves, and waits for a revision to go live.
    Status(status::StatusArguments),
    /// Prints the OpenAPI document of a folder of manifests.
    Openapi(openapi::OpenApiArguments),
    /// Locks the tables of a service in the tree, and finds where its database differs from them.
    Contract(contract::ContractCommands),
    /// Prints the JSON Schema of a manifest, for editors.
    Schema,
    /// Writes a small tree to begin with.
    Init(init::InitArguments),
    /// Makes keys and their digests.
    Key(key::KeyArguments),
    /// Encrypts secrets for the tree, and makes the keys that open them.
    Secret(secret::SecretCommands),
    /// Prints completions for a shell.
    Completions(completions::CompletionsArguments),
    /// Prints or writes manual pages.
    Man(man::ManArguments),
}

/// Why a command ended without a result of its own.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
    code: u8,
}

impl Failure {
    /// Something went wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            code: PROBLEMS,
        }
    }

    /// The command was used wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::new(message)
        }
    }

    /// Adds what to do instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        write!(formatter, "{style}error{style:#}: {}", self.message)?;
        match &self.help {
            Some(help) => write!(formatter, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // `tidegate schema | head` is no mistake.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self {
                code: GOOD,
                ..Self::new("")
            };
        }
        Self::new(format!("the output cannot be written: {error}"))
    }
}

/// Runs the command that the arguments name. Colours appear on terminals only.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` come this way too, and are no misuse.
            let code = if error.use_stderr() { USAGE } else { GOOD };
            let printed = error.print();
            return ExitCode::from(if printed.is_ok() { code } else { PROBLEMS });
        }
    };
    let mut output = anstream::AutoStream::auto(std::io::stdout().lock());
    let format = arguments.format.text_or_json();
    let outcome = match (arguments.command, format) {
        (Some(Command::Plan(plan)), _) => plan::run(&plan, arguments.format, &mut output),
        (_, Err(failure)) => Err(failure),
        (None, Ok(_)) => serve::run(&arguments.serve),
        (Some(Command::Serve(serve)), Ok(_)) => serve::run(&serve),
        (Some(Command::Check(check)), Ok(format)) => check::run(&check, format, &mut output),
        (Some(Command::Explain(explain)), Ok(format)) => {
            explain::run(&explain, format, &mut output)
        }
        (Some(Command::Openapi(openapi)), Ok(format)) => {
            openapi::run(&openapi, format, &mut output)
        }
        (Some(Command::Contract(contract)), Ok(format)) => {
            contract::run(&contract, format, &mut output)
        }
        (Some(Command::Schema), Ok(_)) => schema::run(&mut output),
        (Some(Command::Key(key)), Ok(format)) => key::run(&key, format, &mut output),
        (Some(Command::Secret(secret)), Ok(format)) => secret::run(&secret, format, &mut output),
        (Some(Command::Completions(completions)), Ok(_)) => {
            completions::run(&completions, &mut output)
        }
        (Some(Command::Status(status)), Ok(format)) => status::run(&status, format, &mut output),
        (Some(Command::Init(init)), Ok(format)) => init::run(&init, format, &mut output),
        (Some(Command::Man(man)), Ok(format)) => man::run(&man, format, &mut output),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let mut errors = anstream::AutoStream::auto(std::io::stderr().lock());
            if failure.code != GOOD {
                // There is nobody left to tell when this fails.
                let _ = std::io::Write::write_fmt(&mut errors, format_args!("{failure}\n"));
            }
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_is_what_happens_without_a_subcommand() {
        let arguments = Arguments::try_parse_from(["tidegate", "--listen", "127.0.0.1:1"]).unwrap();
        assert!(arguments.command.is_none());
        let arguments = Arguments::try_parse_from(["tidegate", "serve", "--poll-seconds", "9"]);
        assert!(matches!(
            arguments.unwrap().command,
            Some(Command::Serve(_))
        ));
    }

    #[test]
    fn every_flag_of_serve_has_an_environment_twin() {
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").unwrap();
        for flag in serve.get_arguments().filter(|flag| flag.get_id() != "help") {
            let name = flag.get_long().unwrap().to_uppercase().replace('-', "_");
            assert_eq!(
                flag.get_env().unwrap().to_str(),
                Some(format!("TIDEGATE_{name}").as_str())
            );
        }
    }

    #[test]
    fn misuse_is_refused() {
        for arguments in [
            &["tidegate", "--port", "80"][..],
            &["tidegate", "chek"],
            &["tidegate", "key"],
            &["tidegate", "secret"],
            &["tidegate", "--poll-seconds", "0"],
            &["tidegate", "completions", "klingon"],
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err();
            assert!(error.use_stderr(), "{arguments:?}");
        }
    }
}
