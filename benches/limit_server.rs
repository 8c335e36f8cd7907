//! The limit server: the smallest hand-written program that gives the same answers as Tidegate for two requests, without
//! any of its features. What it reaches is the limit that Tidegate is measured against, in one run (`benches/run`).
//!
//! `limit_server LISTEN CONNECTION pool|pipeline`: each read borrows a connection of its own, or all share a few.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::map_err_ignore,
    clippy::print_stdout,
    reason = "the smallest program that gives the answers: it panics where a product must not"
)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

// The allocator that Tidegate has, so that the figures tell of features alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const BY_KEY: &str =
    "SELECT id, name, email, amount, quantity, active, created_at FROM item WHERE id = $1";
const PAGE: &str = "SELECT id, name, email, amount, quantity, active, created_at FROM item ORDER BY id LIMIT $1 OFFSET $2";

struct Connection {
    client: Client,
    by_key: Statement,
    page: Statement,
}

/// A borrowed connection; goes back when it is dropped, also when the client hung up.
struct Borrowed(
    Option<Arc<Connection>>,
    tokio::sync::mpsc::Sender<Arc<Connection>>,
);

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            self.1
                .try_send(connection)
                .expect("there is a place for every connection");
        }
    }
}

enum Source {
    Pipeline(Vec<Arc<Connection>>, AtomicUsize),
    Pool(
        tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Arc<Connection>>>,
        tokio::sync::mpsc::Sender<Arc<Connection>>,
    ),
}

async fn connect(url: &str) -> Result<Arc<Connection>, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let by_key = client.prepare(BY_KEY).await?;
    let page = client.prepare(PAGE).await?;
    Ok(Arc::new(Connection {
        client,
        by_key,
        page,
    }))
}

struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(raw))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

fn int4(raw: &[u8]) -> i32 {
    i32::from_be_bytes(raw.try_into().unwrap_or_default())
}

fn text(out: &mut BytesMut, raw: &[u8]) {
    // The bench's texts need no escapes; a real server has to look, and so does this one.
    assert!(
        raw.iter()
            .all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\')
    );
    out.put_u8(b'"');
    out.put_slice(raw);
    out.put_u8(b'"');
}

fn numeric(out: &mut BytesMut, raw: &[u8]) {
    let word = |at: usize| i16::from_be_bytes([raw[at], raw[at + 1]]);
    let (digits, weight, negative, scale) = (word(0), word(2), word(4) == 0x4000, word(6));
    let group = |index: i16| {
        if (0..digits).contains(&index) {
            word(8 + 2 * usize::from(index.unsigned_abs()))
        } else {
            0
        }
    };
    let mut formatted = String::with_capacity(24);
    if negative {
        formatted.push('-');
    }
    let _ = write!(formatted, "{}", if weight < 0 { 0 } else { group(0) });
    for index in 1..=weight {
        let _ = write!(formatted, "{:04}", group(index));
    }
    if scale > 0 {
        formatted.push('.');
        let point = formatted.len();
        let mut index = weight + 1;
        while formatted.len() - point < usize::from(scale.unsigned_abs()) {
            let _ = write!(formatted, "{:04}", group(index));
            index += 1;
        }
        formatted.truncate(point + usize::from(scale.unsigned_abs()));
    }
    out.put_slice(formatted.as_bytes());
}

fn timestamp(out: &mut BytesMut, raw: &[u8]) {
    let micros = i64::from_be_bytes(raw.try_into().unwrap_or_default()) + 946_684_800_000_000;
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let _ = write!(out, "\"{}\"", time.format("%Y-%m-%dT%H:%M:%SZ"));
}

fn record(out: &mut BytesMut, row: &Row) {
    let raw = |index: usize| row.get::<_, Raw<'_>>(index).0;
    let mut number = itoa::Buffer::new();
    out.put_slice(b"{\"id\":");
    out.put_slice(number.format(int4(raw(0))).as_bytes());
    out.put_slice(b",\"name\":");
    text(out, raw(1));
    out.put_slice(b",\"email\":");
    text(out, raw(2));
    out.put_slice(b",\"amount\":");
    numeric(out, raw(3));
    out.put_slice(b",\"quantity\":");
    out.put_slice(number.format(int4(raw(4))).as_bytes());
    out.put_slice(b",\"active\":");
    out.put_slice(if raw(5) == [1] { b"true" } else { b"false" });
    out.put_slice(b",\"created_at\":");
    timestamp(out, raw(6));
    out.put_u8(b'}');
}

async fn answer(
    connection: &Connection,
    path: &str,
    query: Option<&str>,
) -> Result<Bytes, Failure> {
    let mut out = BytesMut::with_capacity(1024);
    if let Some(id) = path.strip_prefix("/api/v2/bench/_table/item/") {
        let id: i32 = id.parse()?;
        let row = connection
            .client
            .query_one(&connection.by_key, &[&id])
            .await?;
        record(&mut out, &row);
        return Ok(out.freeze());
    }
    let option = |name: &str| {
        query
            .unwrap_or("")
            .split('&')
            .find_map(|pair| pair.strip_prefix(name))
            .map_or(Ok(0), str::parse::<i64>)
    };
    let (limit, offset) = (option("limit=")?, option("offset=")?);
    let rows = connection
        .client
        .query(&connection.page, &[&(limit + 1), &offset])
        .await?;
    let page = usize::try_from(limit)?;
    out.put_slice(b"{\"resource\":[");
    for (index, row) in rows.iter().take(page).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        record(&mut out, row);
    }
    out.put_slice(b"]");
    if rows.len() > page {
        let _ = write!(out, ",\"meta\":{{\"next\":{}}}", limit + offset);
    }
    out.put_u8(b'}');
    Ok(out.freeze())
}

async fn serve(
    source: Arc<Source>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (path, query) = (request.uri().path(), request.uri().query());
    let outcome = match &*source {
        Source::Pipeline(connections, next) => {
            let index = next.fetch_add(1, Ordering::Relaxed) % connections.len();
            answer(&connections[index], path, query).await
        }
        Source::Pool(idle, back) => {
            let connection = idle
                .lock()
                .await
                .recv()
                .await
                .expect("the pool never closes");
            let borrowed = Borrowed(Some(Arc::clone(&connection)), back.clone());
            let outcome = answer(&connection, path, query).await;
            drop(borrowed);
            outcome
        }
    };
    let mut response = Response::new(Full::new(match &outcome {
        Ok(body) => body.clone(),
        Err(error) => Bytes::from(error.to_string()),
    }));
    if outcome.is_err() {
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    }
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    Ok(response)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, url, mode] =
        <[String; 3]>::try_from(arguments).map_err(|_| "LISTEN CONNECTION pool|pipeline")?;
    let source = Arc::new(if mode == "pipeline" {
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(connect(&url).await?);
        }
        Source::Pipeline(connections, AtomicUsize::new(0))
    } else {
        let (back, idle) = tokio::sync::mpsc::channel(16);
        for _ in 0..10 {
            back.send(connect(&url).await?).await?;
        }
        Source::Pool(tokio::sync::Mutex::new(idle), back)
    });
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&source), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
