//! An HTTP/1.1 client of a few lines that is strict: it checks on every answer what no single test would
//! bother to look at, and it knows a body that broke off from one that ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long an answer to bytes that are perhaps no request may take.
const RAW_PATIENCE: Duration = Duration::from_secs(3);

/// Every header that an answer of the API may carry. Whatever else turns up is a leak.
const ALLOWED_HEADERS: &[&str] = &[
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "referrer-policy",
    "retry-after",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
    "x-tidegate-revision",
];

/// Where to send requests, and with which key.
#[derive(Clone)]
pub struct TestClient {
    address: SocketAddr,
    key: Option<String>,
    checked: bool,
}

/// One request in the making.
pub struct Request<'a> {
    client: &'a TestClient,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body, without the framing of the transfer.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing promised. A broken body never looks whole.
    pub is_whole: bool,
}

/// Percent-encodes a value for a query string or a path segment.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl TestClient {
    /// A client without credentials.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            key: None,
            checked: true,
        }
    }

    /// The same with a key in `X-API-Key`.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The same without the checks that hold for the API alone.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    /// A request to a path with its query string, already encoded.
    pub fn request(&self, method: &str, target: &str) -> Request<'_> {
        let mut headers = Vec::new();
        if let Some(key) = &self.key {
            headers.push(("X-API-Key".to_owned(), key.clone()));
        }
        Request {
            client: self,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: None,
        }
    }

    /// GET.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send()
    }

    /// GET with options that still have to be encoded.
    pub fn query(&self, path: &str, options: &[(&str, &str)]) -> Answer {
        self.get(&with_options(path, options))
    }

    /// A request with a JSON body.
    pub fn send_json(&self, method: &str, target: &str, body: &Value) -> Answer {
        self.request(method, target).json(body).send()
    }

    /// Sends bytes as they are and reads one answer, if one comes soon: after half a request the gateway rightly
    /// waits for more. Nothing is checked.
    pub fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(RAW_PATIENCE)).unwrap();
        // The gateway may hang up before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.flush();
        read_answer(&mut BufReader::new(stream), false)
    }

    /// A connection, for tests that speak for themselves.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// A path with encoded options behind it.
pub fn with_options(path: &str, options: &[(&str, &str)]) -> String {
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    if options.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", options.join("&"))
    }
}

impl Request<'_> {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a body and its media type.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers
            .push(("Content-Type".to_owned(), media_type.to_owned()));
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// The head as it goes over the wire.
    pub fn head(&self) -> String {
        let mut lines = vec![
            format!("{} {} HTTP/1.1", self.method, self.target),
            format!("Host: {}", self.client.address),
            "Connection: close".to_owned(),
        ];
        lines.extend(
            self.headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        if let Some(body) = &self.body {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        lines.join("\r\n") + "\r\n\r\n"
    }

    /// Sends it and hands over the connection before anything was read.
    pub fn open(&self) -> BufReader<TcpStream> {
        let mut stream = self.client.connect();
        let mut message = self.head().into_bytes();
        message.extend_from_slice(self.body.as_deref().unwrap_or_default());
        // An answer may come before all of the body was read (413); that answer is still there to be read.
        let _ = stream.write_all(&message);
        BufReader::new(stream)
    }

    /// Sends it and reads the whole answer, which must keep the rules that hold for every answer.
    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.target);
        let answer = read_answer(&mut self.open(), self.method == "HEAD")
            .unwrap_or_else(|| panic!("{what}: no answer"));
        if self.client.checked {
            check(&what, &answer, self.method == "HEAD");
        }
        answer
    }

    /// Sends it and reads an answer that may break off; only the head is checked.
    pub fn send_that_may_break(self) -> Option<Answer> {
        read_answer(&mut self.open(), self.method == "HEAD")
    }
}

impl Answer {
    /// The only value of a header; panics if it was sent twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} was sent twice");
        first.map(|(_, value)| value.as_str())
    }

    /// What a cache must tell apart; the only list that may come in several lines (RFC 9110 section 5.3).
    pub fn vary(&self) -> String {
        self.headers
            .iter()
            .filter(|(name, _)| name == "vary")
            .map(|(_, value)| value.to_ascii_lowercase())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The records of a list.
    pub fn records(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["resource"]
            .as_array()
            .unwrap_or_else(|| panic!("a list: {}", self.text()))
            .clone()
    }

    /// The envelope's `type`.
    pub fn error_type(&self) -> String {
        self.json()["error"]["type"]
            .as_str()
            .unwrap_or_else(|| panic!("an error with a type: {}", self.text()))
            .to_owned()
    }

    /// The envelope's `message` and `help`, for tests that look for words.
    pub fn error_text(&self) -> String {
        let error = &self.json()["error"];
        format!(
            "{} {}",
            error["message"].as_str().unwrap_or_default(),
            error["help"].as_str().unwrap_or_default()
        )
    }

    /// Asserts status and `type` of an error at once.
    #[track_caller]
    pub fn expect_error(&self, status: u16, kind: &str) -> &Self {
        assert_eq!(
            (self.status, self.error_type().as_str()),
            (status, kind),
            "{}",
            self.text()
        );
        self
    }

    /// Asserts 200.
    #[track_caller]
    pub fn expect_ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The body after `Content-Encoding` is undone.
    pub fn decoded(&self) -> Vec<u8> {
        use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder};
        use tokio::io::AsyncReadExt;

        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut decoded = Vec::new();
        runtime
            .block_on(async {
                match self.header("content-encoding") {
                    Some("gzip") => {
                        GzipDecoder::new(&*self.body)
                            .read_to_end(&mut decoded)
                            .await
                    }
                    Some("br") => {
                        BrotliDecoder::new(&*self.body)
                            .read_to_end(&mut decoded)
                            .await
                    }
                    Some(other) => panic!("an encoding that nobody asked for: {other}"),
                    None => {
                        decoded.extend_from_slice(&self.body);
                        Ok(decoded.len())
                    }
                }
            })
            .unwrap_or_else(|error| panic!("the body cannot be decompressed: {error}"));
        decoded
    }
}

/// Reads one answer. None if the connection ended before a status line.
pub fn read_answer(stream: &mut impl BufRead, is_head: bool) -> Option<Answer> {
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status: u16 = line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("a status line: {line:?}"));
        let headers = read_headers(stream)?;
        // 100 Continue and its like precede the answer.
        if status < 200 {
            continue;
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            is_whole: true,
        };
        if !is_head && status != 204 && status != 304 {
            read_body(stream, &mut answer);
        }
        return Some(answer);
    }
}

fn read_headers(stream: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Some(headers);
        }
        let (name, value) = line.split_once(':').expect("a header line has a colon");
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(stream: &mut impl BufRead, answer: &mut Answer) {
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.is_whole = read_chunks(stream, &mut answer.body).is_some();
    } else if let Some(length) = answer.header("content-length") {
        let length: u64 = length.parse().expect("Content-Length is a number");
        let _ = stream.take(length).read_to_end(&mut answer.body);
        answer.is_whole = answer.body.len() as u64 == length;
    } else {
        // The end of the connection is the end of the body: nothing tells a broken body from a whole one.
        answer.is_whole = stream.read_to_end(&mut answer.body).is_ok();
    }
}

/// Reads chunks up to the last, empty one; none if that never comes.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let chunk = read_chunk(stream)?;
        if chunk.is_empty() {
            return Some(());
        }
        body.extend_from_slice(&chunk);
    }
}

/// Reads one chunk; the last one is empty. None if the connection ended in the middle.
pub fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).ok()?;
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).ok()?;
    assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line break");
    chunk.truncate(size);
    Some(chunk)
}

/// Reads the head of an answer whose body the test wants to read piece by piece.
pub fn read_head(stream: &mut impl BufRead) -> Answer {
    read_answer(stream, true).expect("an answer")
}

/// What holds for every answer of the API.
fn check(what: &str, answer: &Answer, is_head: bool) {
    let context = || {
        let body: String = String::from_utf8_lossy(&answer.body)
            .chars()
            .take(2_000)
            .collect();
        format!("{what}: {} {:?}\n{body}", answer.status, answer.headers)
    };
    assert!(answer.is_whole, "the body broke off: {}", context());
    for (name, _) in &answer.headers {
        assert!(
            ALLOWED_HEADERS.contains(&name.as_str()),
            "header {name} is not on the list: {}",
            context()
        );
    }
    let id = answer.header("x-request-id").unwrap_or_default();
    assert!(!id.is_empty(), "no X-Request-Id: {}", context());
    let revision = answer.header("x-tidegate-revision").unwrap_or_default();
    assert!(
        is_revision(revision),
        "X-Tidegate-Revision is {revision:?}: {}",
        context()
    );
    if is_head {
        assert!(answer.body.is_empty(), "HEAD has a body: {}", context());
        return;
    }
    if answer.status >= 400 {
        check_envelope(answer, id, &context());
    }
    check_content_type(answer, &context());
    check_status_headers(answer, &context());
}

/// `g17-4f2a9c0b1d3e`
fn is_revision(text: &str) -> bool {
    let Some((generation, commit)) = text.strip_prefix('g').and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    !generation.is_empty()
        && generation.bytes().all(|byte| byte.is_ascii_digit())
        && commit.len() == 12
        && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Words that only a database, a driver or our own sources would write.
const FOREIGN_WORDS: &[&str] = &[
    "SQLSTATE",
    "SQLITE_",
    "no such column",
    "syntax error at",
    "rusqlite",
    "tokio_postgres",
    "db error",
    "panicked",
    ".rs:",
];

fn check_envelope(answer: &Answer, id: &str, context: &str) {
    let media_type = answer.header("content-type").unwrap_or_default();
    if !media_type.starts_with("application/json") {
        // Errors follow Accept where the format can carry them.
        assert!(
            !answer.body.is_empty(),
            "an error without a body: {context}"
        );
        return;
    }
    let body = serde_json::from_slice::<Value>(&answer.decoded())
        .unwrap_or_else(|error| panic!("{error}: {context}"));
    let members: Vec<&str> = body
        .as_object()
        .unwrap_or_else(|| panic!("an object: {context}"))
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, ["error"], "{context}");
    let error = &body["error"];
    for name in [
        "code",
        "status_code",
        "message",
        "type",
        "help",
        "request_id",
        "context",
    ] {
        assert!(
            error.get(name).is_some(),
            "the envelope has no `{name}`: {context}"
        );
    }
    assert_eq!(error["status_code"], answer.status, "{context}");
    let code = error["code"].as_u64();
    assert!(
        code == Some(u64::from(answer.status)) || code == Some(1000),
        "{context}"
    );
    assert_eq!(error["request_id"], id, "{context}");
    assert!(
        error["context"].is_null() || error["context"].is_object(),
        "{context}"
    );
    assert!(
        error["help"].is_null() || error["help"].is_string(),
        "{context}"
    );
    let kind = error["type"].as_str().unwrap_or_default();
    assert!(
        tidegate::error::ErrorKind::ALL
            .iter()
            .any(|known| known.name() == kind && known.status().as_u16() == answer.status),
        "`{kind}` with {} is not on the list of types: {context}",
        answer.status
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "{context}");
    for word in FOREIGN_WORDS {
        assert!(
            !message.contains(word),
            "the message says {word:?}: {context}"
        );
    }
}

fn check_content_type(answer: &Answer, context: &str) {
    let body = answer.decoded();
    let Some(media_type) = answer.header("content-type") else {
        assert!(body.is_empty(), "a body without Content-Type: {context}");
        return;
    };
    if answer.status == 304 {
        return;
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let text = String::from_utf8_lossy(&body);
    match essence {
        "application/json" => {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&body);
            assert!(parsed.is_ok(), "not JSON: {context}");
        }
        "application/x-ndjson" => {
            for line in text.lines() {
                let parsed = serde_json::from_str::<serde::de::IgnoredAny>(line);
                assert!(parsed.is_ok(), "not a JSON line: {line:?} in {context}");
            }
        }
        "text/csv" => {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(true)
                .from_reader(&*body);
            for record in reader.byte_records() {
                assert!(record.is_ok(), "not CSV: {context}");
            }
        }
        "application/xml" => assert!(text.starts_with("<?xml"), "not XML: {context}"),
        "text/html" => assert!(
            text.trim_start()
                .to_ascii_lowercase()
                .starts_with("<!doctype html"),
            "not HTML: {context}"
        ),
        "text/plain"
        | "text/css"
        | "text/javascript"
        | "application/javascript"
        | "application/yaml"
        | "image/png"
        | "image/svg+xml" => {}
        other => panic!("an unexpected media type {other}: {context}"),
    }
}

/// RFC 9110: what some statuses oblige to say.
fn check_status_headers(answer: &Answer, context: &str) {
    let obliged = match answer.status {
        401 => "www-authenticate",
        405 => "allow",
        429 | 503 => "retry-after",
        _ => return,
    };
    assert!(answer.header(obliged).is_some(), "no {obliged}: {context}");
}
