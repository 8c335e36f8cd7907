//! `tidegate status`: what a running daemon serves, asked of its operations listener.

use std::fmt::Write as _;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use clap::Args;
use http::{StatusCode, Uri};
use serde_json::Value;

use super::{Failure, GOOD, OutputFormat, PROBLEMS, duration};
use crate::clock::{self, Clock};
use crate::http::client::{Silence, get};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer: 64 MiB, many thousand services.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Time between two questions while waiting for a revision.
const PAUSE: Duration = Duration::from_millis(200);
/// Fewest digits of a commit or digest that can stand for it.
const FEWEST_DIGITS: usize = 7;
/// Digits of a commit or digest that a list shows.
const SHORT_DIGITS: usize = 12;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Where the operations listener is (--ops-listen of the daemon).
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:9090",
        env = "TIDEGATE_OPS"
    )]
    ops: Operations,
    /// Waits until this is live: a revision (g17-4f2a9c0b1d3e), or the first digits of a commit or digest.
    #[arg(long, value_name = "REVISION", env = "TIDEGATE_WAIT")]
    wait: Option<Wanted>,
    /// How long to wait for it: 30s, 5m, 1h.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = duration::parse,
        env = "TIDEGATE_TIMEOUT"
    )]
    timeout: Duration,
}

/// Exit code 0 when the daemon is ready and serves the tree as it is now; with `--wait` once that revision is live. 1
/// when it is degraded, not ready or not there.
pub(super) fn run(
    arguments: &StatusArguments,
    format: OutputFormat,
    output: &mut dyn Write,
) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clock = clock::system();
    let asked = runtime.block_on(async {
        match &arguments.wait {
            None => arguments.ops.ask().await,
            Some(wanted) => wait(arguments, wanted, clock.as_ref()).await,
        }
    });
    // A name that is being looked up cannot be called back.
    runtime.shutdown_background();
    let found = asked?;
    match format {
        OutputFormat::Text => write!(output, "{}", found.text(&arguments.ops, clock.now()))?,
        OutputFormat::Json => writeln!(output, "{:#}", found.document)?,
    }
    match &arguments.wait {
        Some(wanted) if found.is_ready && wanted.is_live(&found.document) => Ok(GOOD),
        Some(wanted) => Err(Failure::new(format!(
            "{wanted} is not live after {} s",
            arguments.timeout.as_secs()
        ))
        .with_help(if found.is_degraded() {
            "the tree was refused: mend what is shown above, or revert"
        } else {
            "was it pulled or pushed to where this daemon looks? its log says more"
        })),
        None if found.is_ready && !found.is_degraded() => Ok(GOOD),
        None => Ok(PROBLEMS),
    }
}

/// Asks until the wanted revision is live, for as long as the arguments say. A daemon that is away in between, as while
/// it restarts, is waited for.
async fn wait(
    arguments: &StatusArguments,
    wanted: &Wanted,
    clock: &dyn Clock,
) -> Result<Found, Failure> {
    let start = clock.instant();
    loop {
        let asked = arguments.ops.ask().await;
        let is_live = asked
            .as_ref()
            .is_ok_and(|found| found.is_ready && wanted.is_live(&found.document));
        let spent = clock.instant().saturating_duration_since(start);
        if is_live || spent >= arguments.timeout {
            return asked;
        }
        tokio::time::sleep(PAUSE.min(arguments.timeout.saturating_sub(spent))).await;
    }
}

/// The base of the URLs of an operations listener: `http://HOST:PORT`, perhaps with a path before `/status`.
#[derive(Clone, Debug)]
struct Operations(Uri);

impl FromStr for Operations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = match text.split_once("://") {
            Some(("http", _)) => text.to_owned(),
            Some(("https", _)) => {
                return Err(
                    "the operations listener has no TLS; of one behind a proxy, curl can \
                            read /status"
                        .to_owned(),
                );
            }
            Some(_) => return Err("write http://HOST:PORT".to_owned()),
            None => format!("http://{text}"),
        };
        let uri: Uri = whole
            .parse()
            .map_err(|error| format!("{error}; write http://HOST:PORT"))?;
        let is_host_alone = uri
            .authority()
            .is_some_and(|name| !name.as_str().contains('@') && !name.host().is_empty());
        if !is_host_alone || uri.query().is_some() {
            return Err("write http://HOST:PORT".to_owned());
        }
        Ok(Self(uri))
    }
}

impl std::fmt::Display for Operations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

impl Operations {
    /// Asks for `/readyz` and `/status`.
    async fn ask(&self) -> Result<Found, Failure> {
        let (ready, _) = self.get("/readyz").await?;
        let (status, body) = self.get("/status").await?;
        let document: Value = match status {
            StatusCode::OK => serde_json::from_slice(&body).unwrap_or_default(),
            _ => Value::Null,
        };
        if document.get("generation").is_none() {
            return Err(Failure::new(format!(
                "{self} is not the operations listener of a tidegate: /status answers {status}"
            ))
            .with_help("name the address of --ops-listen with --ops; that of the API is another"));
        }
        Ok(Found {
            is_ready: ready == StatusCode::OK,
            document,
        })
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, bytes::Bytes), Failure> {
        let uri = format!("{self}{path}");
        let uri: Uri = uri
            .parse()
            .map_err(|error| Failure::usage(format!("{uri} is no URL: {error}")))?;
        get(&uri, PATIENCE, MAX_ANSWER_BYTES)
            .await
            .map_err(|silence| match silence {
                Silence::Unreachable(why) => {
                    Failure::new(format!("no tidegate answers at {self}: {why}")).with_help(
                        "is it running? name the address of its --ops-listen with --ops or \
                         TIDEGATE_OPS",
                    )
                }
                Silence::Broken(why) => Failure::new(format!(
                    "what answers at {self} does not speak HTTP as it should: {why}"
                ))
                .with_help("name the address of --ops-listen with --ops"),
                Silence::Late => Failure::new(format!(
                    "{self} has not answered within {} s",
                    PATIENCE.as_secs()
                ))
                .with_help("is the machine overloaded, or a firewall between?"),
            })
    }
}

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// `g17-4f2a9c0b1d3e`
    Revision(String),
    /// The first digits of a commit or of a digest.
    Digits(String),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lowered = text.to_ascii_lowercase();
        let revision = lowered.strip_prefix('g').and_then(|rest| {
            let (generation, digits) = rest.split_once('-')?;
            (generation.parse::<u64>().is_ok() && is_hexadecimal(digits)).then_some(())
        });
        match revision {
            Some(()) => Ok(Self::Revision(lowered)),
            None if lowered.len() >= FEWEST_DIGITS && is_hexadecimal(&lowered) => {
                Ok(Self::Digits(lowered))
            }
            None => Err(format!(
                "write a revision (g17-4f2a9c0b1d3e) or {FEWEST_DIGITS} or more digits of a \
                 commit, as `git rev-parse HEAD` prints it"
            )),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Revision(text) | Self::Digits(text) => formatter.write_str(text),
        }
    }
}

impl Wanted {
    /// Whether a status document says that it is served. A commit is not, while files are known to differ from it.
    fn is_live(&self, document: &Value) -> bool {
        let digits = match self {
            Self::Revision(text) => {
                return document.get("revision").and_then(Value::as_str) == Some(text);
            }
            Self::Digits(digits) => digits,
        };
        let layers = document.get("layers").and_then(Value::as_array);
        std::iter::once(document)
            .chain(layers.into_iter().flatten())
            .any(|part| {
                let is = |member: &str| {
                    let text = part.get(member).and_then(Value::as_str);
                    text.is_some_and(|text| text.starts_with(digits))
                };
                is("digest") || (is("commit") && part.get("dirty") != Some(&Value::Bool(true)))
            })
    }
}

/// What a daemon said of itself.
struct Found {
    is_ready: bool,
    document: Value,
}

const GREEN: Style = AnsiColor::Green.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();

impl Found {
    fn is_degraded(&self) -> bool {
        self.document.get("degraded") == Some(&Value::Bool(true))
    }

    /// For people.
    fn text(&self, operations: &Operations, now: DateTime<Utc>) -> String {
        let document = &self.document;
        let (style, state) = match (self.is_ready, self.is_degraded()) {
            (false, _) => (RED, "not ready: it stops, and finishes what runs"),
            (true, true) => (
                YELLOW,
                "ready, degraded: the tree as it is now was refused, an older one is served",
            ),
            (true, false) => (GREEN, "ready"),
        };
        let mut text = format!("tidegate at {operations}: {style}{state}{style:#}\n");
        // Writing to a String cannot fail.
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<9} {value}");
        };
        line("revision", &shown(document, "revision"));
        if let Some(commit) = commit(document, usize::MAX) {
            line("commit", &commit);
        }
        line("digest", &shown(document, "digest"));
        if document.get("signer").is_some_and(Value::is_string) {
            line("signer", &shown(document, "signer"));
        }
        let since = shown(document, "loaded_at");
        match ago(&since, now) {
            Some(ago) => line("since", &format!("{since}, {ago} ago")),
            None => line("since", &since),
        }
        if shown(document, "source") == "last-good" {
            let accepted_at = shown(document, "accepted_at");
            line(
                "source",
                &format!("the last good tree, accepted {accepted_at}"),
            );
        }
        if let Some(fetch) = document.get("fetch").filter(|fetch| fetch.is_object()) {
            let (outcome, at) = (shown(fetch, "outcome"), shown(fetch, "at"));
            let why = match shown(fetch, "message") {
                message if message.is_empty() => message,
                message => format!(": {message}"),
            };
            line("fetch", &format!("{outcome} {at}{why}"));
        }
        let kept = document.pointer("/last_good/problem");
        if let Some(problem) = kept.and_then(Value::as_str) {
            line("not kept", &clean(problem));
        }
        if let Some(Value::Array(layers)) = document.get("layers") {
            text.push_str("layers, the lowest first\n");
            let rows = layers.iter().map(|layer| {
                let from = match commit(layer, SHORT_DIGITS) {
                    Some(commit) => format!("commit {commit}"),
                    None => format!("digest {}", short(&shown(layer, "digest"), SHORT_DIGITS)),
                };
                vec![(Style::new(), shown(layer, "source")), (Style::new(), from)]
            });
            table(&mut text, &rows.collect::<Vec<_>>());
        }
        let services = document.get("services").and_then(Value::as_array);
        if let Some(services) = services.filter(|services| !services.is_empty()) {
            text.push_str("services\n");
            let rows: Vec<_> = services.iter().map(service).collect();
            table(&mut text, &rows);
        }
        if self.is_degraded() {
            let at = document.pointer("/last_attempt/at");
            let at = clean(at.and_then(Value::as_str).unwrap_or_default());
            let _ = writeln!(text, "refused at {at}");
            let problems = document.pointer("/last_attempt/problems");
            for problem in problems.and_then(Value::as_array).into_iter().flatten() {
                text.push_str(&problem_text(problem));
            }
        }
        text
    }
}

/// A service as a row: its name, type and health.
fn service(service: &Value) -> Vec<(Style, String)> {
    let health = shown(service, "health");
    let state = if service.get("active") == Some(&Value::Bool(false)) {
        (Style::new(), "switched off".to_owned())
    } else {
        match (health.as_str(), shown(service, "message")) {
            ("up", _) => (GREEN, health),
            ("down", reason) if reason.is_empty() => (RED, health),
            ("down", reason) => (RED, format!("{health}: {reason}")),
            _ => (YELLOW, "not asked yet".to_owned()),
        }
    };
    let plain = |name: &str| (Style::new(), shown(service, name));
    vec![plain("name"), plain("type"), state]
}

/// The commit of a document or a layer, if it is in git, with so many digits, and whether its files differ from it.
fn commit(part: &Value, digits: usize) -> Option<String> {
    let commit = clean(part.get("commit")?.as_str()?);
    let note = match part.get("dirty").and_then(Value::as_bool) {
        Some(false) => "",
        Some(true) => ", and files differ from it",
        None => "; whether files differ from it is not known",
    };
    Some(format!("{}{note}", short(&commit, digits)))
}

fn short(text: &str, digits: usize) -> &str {
    text.get(..digits).unwrap_or(text)
}

/// Rows with their columns under each other.
fn table(text: &mut String, rows: &[Vec<(Style, String)>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &(Style, String)| cell.1.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(length).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        for (column, ((style, cell), width)) in row.iter().zip(&widths).enumerate() {
            let width = if column + 1 == row.len() { 0 } else { *width };
            let _ = write!(text, "  {style}{cell:<width$}{style:#}");
        }
        text.push('\n');
    }
}

/// A problem of `/status` as `check` would show it, but for the source line.
fn problem_text(problem: &Value) -> String {
    let severity = shown(problem, "severity");
    let style = if severity == "warning" { YELLOW } else { RED };
    let bold = Style::new().bold();
    let message = shown(problem, "message");
    let mut text = format!("{style}{severity}{style:#}{bold}: {message}{bold:#}\n");
    let number = |name: &str| problem.get(name).and_then(Value::as_u64);
    if let (Some(file), Some(line), Some(column)) = (
        problem.get("file").and_then(Value::as_str),
        number("line"),
        number("column"),
    ) {
        let _ = writeln!(text, "  {}:{line}:{column}", clean(file));
    }
    if problem.get("help").is_some_and(Value::is_string) {
        let _ = writeln!(text, "  help: {}", shown(problem, "help"));
    }
    text
}

/// A text of the document; empty where there is none.
fn shown(part: &Value, member: &str) -> String {
    clean(part.get(member).and_then(Value::as_str).unwrap_or_default())
}

/// What another program wrote, without what would move the cursor of a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => ' ',
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}

/// How long ago a moment was, in the largest unit; none where it lies ahead or is no moment.
fn ago(moment: &str, now: DateTime<Utc>) -> Option<String> {
    let moment = DateTime::parse_from_rfc3339(moment).ok()?;
    let seconds = u64::try_from((now - moment.to_utc()).num_seconds()).ok()?;
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{count} {unit}{plural}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COMMIT: &str = "4f2a9c0b1d3e4f2a9c0b1d3e4f2a9c0b1d3e4f2a";

    fn document() -> Value {
        json!({
            "revision": "g17-4f2a9c0b1d3e", "generation": 17, "digest": "ab".repeat(32), "commit": COMMIT,
            "dirty": false, "loaded_at": "2026-11-20T12:00:00.000Z", "degraded": false,
            "last_attempt": { "at": "2026-11-20T12:00:00.000Z", "outcome": "applied", "problems": [] },
            "services": [
                { "name": "shop", "type": "sqlite", "active": true, "health": "up", "message": null },
                { "name": "northwind", "type": "pgsql", "active": true, "health": "down", "message": "refused\u{1b}[2J" },
                { "name": "old", "type": "pgsql", "active": false, "health": "unknown", "message": null },
                { "name": "new", "type": "pgsql", "active": true, "health": "unknown", "message": null },
            ],
        })
    }

    fn text(document: Value, is_ready: bool) -> String {
        let found = Found { is_ready, document };
        let operations: Operations = "127.0.0.1:9090".parse().unwrap();
        let now = DateTime::parse_from_rfc3339("2026-11-20T13:30:00Z").unwrap();
        anstream::adapter::strip_str(&found.text(&operations, now.to_utc())).to_string()
    }

    #[test]
    fn people_see_what_is_served_and_how_it_is() {
        assert_eq!(
            text(document(), true),
            format!(
                "\
tidegate at http://127.0.0.1:9090: ready
  revision  g17-4f2a9c0b1d3e
  commit    {COMMIT}
  digest    {}
  since     2026-11-20T12:00:00.000Z, 1 hour ago
services
  shop       sqlite  up
  northwind  pgsql   down: refused\u{fffd}[2J
  old        pgsql   switched off
  new        pgsql   not asked yet
",
                "ab".repeat(32)
            )
        );
    }

    #[test]
    fn people_see_why_it_is_degraded_and_what_its_layers_are() {
        let mut document = document();
        document["degraded"] = json!(true);
        document["dirty"] = json!(true);
        document["services"] = json!([]);
        document["layers"] = json!([
            { "source": "base", "digest": "cd".repeat(32), "commit": COMMIT, "dirty": null, "files": 2 },
            { "source": "production", "digest": "ef".repeat(32), "commit": null, "dirty": null, "files": 1 },
        ]);
        document["last_attempt"] = json!({
            "at": "2026-11-20T13:29:00.000Z", "outcome": "refused", "problems": [
                { "severity": "error", "file": "production/a.toml", "line": 3, "column": 7, "message": "no", "help": "yes" },
                { "severity": "error", "file": null, "line": null, "column": null, "message": "empty", "help": null },
            ],
        });
        let said = text(document.clone(), true);
        let (_, said) = said.split_once("since").unwrap();
        assert_eq!(
            said,
            "     2026-11-20T12:00:00.000Z, 1 hour ago
layers, the lowest first
  base        commit 4f2a9c0b1d3e; whether files differ from it is not known
  production  digest efefefefefef
refused at 2026-11-20T13:29:00.000Z
error: no
  production/a.toml:3:7
  help: yes
error: empty
"
        );
        assert!(text(document.clone(), true).contains(": ready, degraded: "));
        document["signer"] = json!("ann@example.org");
        document["source"] = json!("last-good");
        document["accepted_at"] = json!("2026-11-19T12:00:00.000Z");
        document["fetch"] =
            json!({ "at": "2026-11-20T13:00:00.000Z", "outcome": "failed", "message": "no route" });
        document["last_good"] = json!({ "problem": "the disk is full" });
        let said = text(document.clone(), true);
        for expected in [
            "  signer    ann@example.org\n",
            "  source    the last good tree, accepted 2026-11-19T12:00:00.000Z\n",
            "  fetch     failed 2026-11-20T13:00:00.000Z: no route\n",
            "  not kept  the disk is full\n",
        ] {
            assert!(said.contains(expected), "{expected} is not in\n{said}");
        }
        assert!(text(document, false).contains(": not ready: "));
    }

    #[test]
    fn a_revision_a_commit_and_a_digest_can_be_waited_for() {
        let wanted = |text: &str| text.parse::<Wanted>().unwrap();
        let live = document();
        for text in ["g17-4f2a9c0b1d3e", COMMIT, "4F2A9C0", "abababab"] {
            assert!(wanted(text).is_live(&live), "{text}");
        }
        for text in ["g16-4f2a9c0b1d3e", "g17-4f2a", "4f2a9c1", "babababa"] {
            assert!(!wanted(text).is_live(&live), "{text}");
        }
        let mut dirty = document();
        dirty["dirty"] = json!(true);
        assert!(
            !wanted(COMMIT).is_live(&dirty),
            "files differ from the commit"
        );
        dirty["commit"] = json!(null);
        dirty["layers"] = json!([
            { "digest": "cd".repeat(32), "commit": null, "dirty": null },
            { "digest": "ef".repeat(32), "commit": COMMIT, "dirty": false },
        ]);
        assert!(wanted(COMMIT).is_live(&dirty), "the commit of one layer");
        for text in ["main", "HEAD", "4f2a9c", "g-4f2a9c0", "gx-4f2a9c0", ""] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_be_written_short_and_is_plain_http() {
        for (text, shown) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090"),
            ("localhost:9090", "http://localhost:9090"),
            ("http://[::1]:9090/gateway/", "http://[::1]:9090/gateway"),
        ] {
            assert_eq!(text.parse::<Operations>().unwrap().to_string(), shown);
        }
        for text in [
            "https://host:1",
            "ftp://host",
            "",
            "http://",
            "http://a:b@host:1",
            "host:1/?x=1",
            "a b",
        ] {
            assert!(text.parse::<Operations>().is_err(), "{text}");
        }
    }
}
