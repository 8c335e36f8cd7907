//! One GET over plain HTTP, for commands that ask a running daemon.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::incoming;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nobody listens there, or the address leads nowhere.
    Unreachable(String),
    /// What came is no HTTP, or broke off.
    Broken(String),
    /// Nothing came in time.
    Late,
}

/// Asks for `uri`, which has a host and no user, and takes all of the answer.
///
/// Fails when it does not come within `patience`, and when its body has more than `most` bytes. Redirections are
/// answers like any other.
pub async fn get(
    uri: &Uri,
    patience: Duration,
    most: usize,
) -> Result<(StatusCode, Bytes), Silence> {
    tokio::time::timeout(patience, ask(uri, most))
        .await
        .unwrap_or(Err(Silence::Late))
}

async fn ask(uri: &Uri, most: usize) -> Result<(StatusCode, Bytes), Silence> {
    let unreachable = |error: std::io::Error| Silence::Unreachable(error.to_string());
    let broken = |error: hyper::Error| Silence::Broken(error.to_string());
    // An IPv6 address stands in brackets, which are no part of it.
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((address, port))
        .await
        .map_err(unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, uri.authority().map_or(host, |name| name.as_str()))
        .header(USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|error| Silence::Unreachable(error.to_string()))?;
    let answer = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(broken)?
            .into_parts();
        let body = incoming(body).collect(most).await;
        body.map(|body| (head.status, body))
            .map_err(|error| Silence::Broken(error.message().to_owned()))
    };
    // The connection does the work; it ends with the answer, because neither side keeps it.
    let (answer, _) = futures_util::join!(answer, connection);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers one connection with these bytes; the head of the request comes back.
    async fn asked(
        answer: &'static [u8],
        most: usize,
    ) -> (Result<(StatusCode, Bytes), Silence>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            String::from_utf8(head).unwrap()
        });
        let uri: Uri = format!("http://{address}/a/status?b=c").parse().unwrap();
        let patience = Duration::from_millis(if answer.is_empty() { 50 } else { 30_000 });
        let got = get(&uri, patience, most).await;
        let head = if answer.is_empty() {
            String::new()
        } else {
            server.await.unwrap()
        };
        (got, head)
    }

    #[tokio::test]
    async fn an_answer_is_taken_in_every_framing() {
        let expected = Ok((StatusCode::OK, Bytes::from_static(b"hello")));
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            let (got, head) = asked(answer, 5).await;
            assert_eq!(got, expected);
            assert!(head.starts_with("GET /a/status?b=c HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("host: 127.0.0.1:"), "{head}");
        }
        let (got, _) = asked(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 5).await;
        assert_eq!(got, Ok((StatusCode::SERVICE_UNAVAILABLE, Bytes::new())));
    }

    #[tokio::test]
    async fn what_is_too_long_too_late_or_no_http_is_no_answer() {
        let (got, _) = asked(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", 5).await;
        assert!(matches!(got, Err(Silence::Broken(_))), "{got:?}");
        let (got, _) = asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 99).await;
        assert!(matches!(got, Err(Silence::Broken(_))), "{got:?}");
        let (got, _) = asked(b"220 mail.example.org ESMTP\r\n\r\n", 99).await;
        assert!(matches!(got, Err(Silence::Broken(_))), "{got:?}");
        let (got, _) = asked(b"", 99).await;
        assert_eq!(got, Err(Silence::Late));
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let uri: Uri = format!("http://{free}/").parse().unwrap();
        let got = get(&uri, Duration::from_secs(30), 99).await;
        assert!(matches!(got, Err(Silence::Unreachable(_))), "{got:?}");
    }
}
