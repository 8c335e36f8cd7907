//! Answers compressed on request (RFC 9110 section 12.5.3).

use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::AsyncWriteExt as _;

use super::format::read_weight;
use super::{Body, ByteStream, Reply};
use crate::error::{Error, Result};

/// Fewest bytes a whole body must have to be compressed. Streams always are.
pub const MIN_COMPRESSED_BYTES: usize = 1024;

/// Whole bodies up to this size are compressed at once, and so keep a `Content-Length`; larger ones piece by piece
/// while they are sent, so that no task holds its thread for long.
const PIECE_BYTES: usize = 64 * 1024;

/// Brotli's own scale, 0 to 11: from 5 on it costs many times what it saves on answers made on the fly.
const BROTLI_QUALITY: i32 = 4;
/// The base-two logarithm of Brotli's window: 256 KiB for each answer under way.
const BROTLI_WINDOW: i32 = 18;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Brotli,
}

impl Coding {
    const ALL: [Self; 2] = [Self::Gzip, Self::Brotli];

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// Compresses an answer if the client asked for it and it is worth it.
///
/// Only answers of a compressible media type that are streams or have at least [`MIN_COMPRESSED_BYTES`] are
/// considered; they get `Vary: Accept-Encoding` either way. Parts of a whole (206) and what is already encoded are
/// left alone. Of the codings with the highest weight, gzip is taken before br, because it costs less time.
///
/// A strong entity tag gets the coding's name as a suffix, because the bytes differ (RFC 9110 section 8.8.3.3);
/// [`without_coding`] takes it off again when the client sends it back. Each piece that the body yields is sent on at
/// once; an error of the body stays an error, so a compressed answer that breaks off never looks whole.
pub fn compress(accept_encoding: Option<&str>, mut reply: Reply) -> Reply {
    if !is_worthwhile(&reply) {
        return reply;
    }
    add_vary(&mut reply.headers);
    let Some(coding) = accept_encoding.and_then(choose) else {
        return reply;
    };
    let encoder = Encoder::new(coding);
    reply.body = match reply.body {
        Body::Bytes(bytes) if bytes.len() <= PIECE_BYTES => match encoder.whole(&bytes) {
            Some(smaller) if smaller.len() < bytes.len() => Body::Bytes(smaller),
            _ => {
                reply.body = Body::Bytes(bytes);
                return reply;
            }
        },
        Body::Bytes(bytes) => Body::Stream(encoder.stream(pieces(bytes))),
        Body::Stream(body) => Body::Stream(encoder.stream(body)),
        Body::Empty => Body::Empty,
    };
    reply.headers.remove(CONTENT_LENGTH);
    reply.headers.remove(ACCEPT_RANGES);
    reply
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    if let Some(tag) = reply
        .headers
        .get(ETAG)
        .and_then(|tag| suffixed(tag.to_str().ok()?, coding))
    {
        reply.headers.insert(ETAG, tag);
    }
    reply
}

/// An entity tag as it was before [`compress`] added its suffix; `tag` is what stands between the quotation marks.
pub fn without_coding(tag: &str) -> &str {
    Coding::ALL
        .iter()
        .find_map(|coding| tag.strip_suffix(coding.name())?.strip_suffix('-'))
        .unwrap_or(tag)
}

/// The tag with the coding's suffix; none for a weak one, which may stand for both.
fn suffixed(tag: &str, coding: Coding) -> Option<HeaderValue> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    HeaderValue::try_from(format!("\"{inner}-{}\"", coding.name())).ok()
}

fn is_worthwhile(reply: &Reply) -> bool {
    let is_large = match &reply.body {
        Body::Empty => false,
        Body::Bytes(bytes) => bytes.len() >= MIN_COMPRESSED_BYTES,
        Body::Stream(_) => true,
    };
    is_large
        && reply.status != StatusCode::PARTIAL_CONTENT
        && !reply.headers.contains_key(CONTENT_ENCODING)
        && !reply.headers.contains_key(CONTENT_RANGE)
        && reply
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_compressible)
}

fn is_compressible(content_type: &str) -> bool {
    let name = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    name.starts_with("text/")
        || name.ends_with("+json")
        || name.ends_with("+xml")
        || matches!(
            name.as_str(),
            "application/json"
                | "application/x-ndjson"
                | "application/xml"
                | "application/javascript"
                | "application/yaml"
        )
}

fn add_vary(headers: &mut HeaderMap) {
    let is_there = headers.get_all(VARY).iter().any(|value| {
        value.to_str().is_ok_and(|names| {
            names
                .split(',')
                .any(|name| matches!(name.trim(), "*") || ACCEPT_ENCODING == *name.trim())
        })
    });
    if !is_there {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
}

/// The coding with the highest weight; none when the client asks for none, or likes the bare body better. Elements that
/// cannot be read are passed over.
fn choose(accept_encoding: &str) -> Option<Coding> {
    let mut gzip = None;
    let mut brotli = None;
    let mut identity = None;
    let mut others = None;
    for element in accept_encoding.split(',') {
        let mut pieces = element.split(';');
        let name = pieces
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let weight = pieces
            .filter_map(|piece| piece.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1_000), |(_, weight)| read_weight(weight.trim()));
        let Some(weight) = weight else { continue };
        match name.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "br" => brotli = Some(weight),
            "identity" => identity = Some(weight),
            "*" => others = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(others).unwrap_or(0);
    let brotli = brotli.or(others).unwrap_or(0);
    let best = if brotli > gzip {
        (brotli, Coding::Brotli)
    } else {
        (gzip, Coding::Gzip)
    };
    (best.0 > 0 && best.0 >= identity.unwrap_or(0)).then_some(best.1)
}

/// A large body in pieces, each of which is soon compressed.
fn pieces(bytes: Bytes) -> ByteStream {
    Box::pin(stream::unfold(bytes, async |mut rest| {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok(piece), rest))
    }))
}

/// An encoder that writes into memory, and so never waits.
enum Encoder {
    Gzip(Box<GzipEncoder<Vec<u8>>>),
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(Box::new(GzipEncoder::with_quality(
                Vec::new(),
                Level::Fastest,
            ))),
            Coding::Brotli => Self::Brotli(Box::new(BrotliEncoder::with_params(
                Vec::new(),
                EncoderParams::default()
                    .quality(Level::Precise(BROTLI_QUALITY))
                    .window_size(BROTLI_WINDOW)
                    .text_mode(),
            ))),
        }
    }

    /// Compresses a body that is all there.
    fn whole(mut self, bytes: &[u8]) -> Option<Bytes> {
        let work = async {
            self.write(bytes).await?;
            self.finish().await
        };
        work.now_or_never()?.ok()
    }

    /// Compresses a stream piece by piece; each piece is flushed, so that a slow body is not held back.
    fn stream(self, body: ByteStream) -> ByteStream {
        Box::pin(stream::unfold(Some((self, body)), async |state| {
            let (mut encoder, mut body) = state?;
            loop {
                let piece = match body.next().await {
                    None => return Some((encoder.finish().await, None)),
                    Some(Err(error)) => return Some((Err(error), None)),
                    Some(Ok(piece)) if piece.is_empty() => continue,
                    Some(Ok(piece)) => piece,
                };
                let written = match encoder.write(&piece).await {
                    Ok(()) => encoder.flush().await,
                    Err(error) => Err(error),
                };
                match written {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Some((Ok(bytes), Some((encoder, body)))),
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes).await,
            Self::Brotli(encoder) => encoder.write_all(bytes).await,
        }
        .map_err(broken)
    }

    /// All that can be decoded of what was written so far and not yet taken.
    async fn flush(&mut self) -> Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.flush().await,
            Self::Brotli(encoder) => encoder.flush().await,
        }
        .map_err(broken)?;
        Ok(self.take())
    }

    /// The last bytes.
    async fn finish(&mut self) -> Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.shutdown().await,
            Self::Brotli(encoder) => encoder.shutdown().await,
        }
        .map_err(broken)?;
        Ok(self.take())
    }

    fn take(&mut self) -> Bytes {
        let written = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
        };
        Bytes::from(std::mem::take(written))
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::internal("the answer cannot be compressed").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder};
    use tokio::io::AsyncReadExt as _;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(work)
    }

    fn json(body: Body) -> Reply {
        Reply::ok(
            HeaderValue::from_static("application/json; charset=utf-8"),
            body,
        )
        .with_header(ETAG, HeaderValue::from_static("\"abc\""))
    }

    fn long() -> Bytes {
        Bytes::from("{\"name\":\"value\"},".repeat(500))
    }

    fn header(reply: &Reply, name: http::HeaderName) -> &str {
        reply
            .headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    async fn decoded(coding: &str, body: Body) -> Result<Vec<u8>> {
        let bytes = body.collect(usize::MAX).await?;
        let mut out = Vec::new();
        match coding {
            "gzip" => GzipDecoder::new(&bytes[..]).read_to_end(&mut out).await,
            "br" => BrotliDecoder::new(&bytes[..]).read_to_end(&mut out).await,
            _ => Ok(out.write(&bytes).await.unwrap()),
        }
        .map_err(|error| Error::internal("not decodable").with_source(error))?;
        Ok(out)
    }

    #[test]
    fn codings_are_negotiated() {
        for (accept, expected) in [
            ("gzip", "gzip"),
            ("x-gzip", "gzip"),
            ("br", "br"),
            ("gzip, deflate, br", "gzip"),
            ("gzip;q=0.5, br;q=0.8", "br"),
            ("GZIP;Q=0.5", "gzip"),
            ("*", "gzip"),
            ("gzip;q=0, *", "br"),
            ("gzip;q=0.2, identity;q=0.5", ""),
            ("gzip;q=0", ""),
            ("identity", ""),
            ("deflate, zstd", ""),
            ("", ""),
            ("gzip;q=x", ""),
        ] {
            let reply = compress(Some(accept), json(Body::Bytes(long())));
            assert_eq!(header(&reply, CONTENT_ENCODING), expected, "{accept}");
            assert_eq!(header(&reply, VARY), "accept-encoding");
            let tag = match expected {
                "" => "\"abc\"".to_owned(),
                coding => format!("\"abc-{coding}\""),
            };
            assert_eq!(header(&reply, ETAG), tag);
            assert_eq!(run(decoded(expected, reply.body)).unwrap(), long());
        }
        let reply = compress(None, json(Body::Bytes(long())));
        assert_eq!(header(&reply, CONTENT_ENCODING), "");
    }

    #[test]
    fn what_is_small_or_dense_or_a_part_is_left_alone() {
        let encoded = json(Body::Bytes(long()))
            .with_header(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        let mut part = json(Body::Bytes(long()));
        part.status = StatusCode::PARTIAL_CONTENT;
        for (reply, coding) in [
            (json(Body::Bytes(Bytes::from_static(b"{}"))), ""),
            (json(Body::Empty), ""),
            (
                Reply::ok(HeaderValue::from_static("image/png"), Body::Bytes(long())),
                "",
            ),
            (encoded, "zstd"),
            (part, ""),
        ] {
            let reply = compress(Some("gzip"), reply);
            assert_eq!(header(&reply, CONTENT_ENCODING), coding);
            assert_eq!(header(&reply, VARY), "");
        }
    }

    #[test]
    fn a_large_body_and_a_stream_survive_every_coding() {
        for coding in ["gzip", "br"] {
            let large = Bytes::from(
                (0..200_000_u32)
                    .flat_map(u32::to_le_bytes)
                    .collect::<Vec<u8>>(),
            );
            let reply = compress(Some(coding), json(Body::Bytes(large.clone())));
            assert!(run(decoded(coding, reply.body)).unwrap() == large);

            let chunks: Vec<Result<Bytes>> = (0..10).map(|_| Ok(long())).collect();
            let reply = compress(
                Some(coding),
                json(Body::Stream(Box::pin(stream::iter(chunks)))),
            );
            assert!(run(decoded(coding, reply.body)).unwrap() == long().repeat(10));
        }
    }

    #[test]
    fn each_piece_of_a_slow_stream_is_sent_at_once() {
        for coding in ["gzip", "br"] {
            run(async {
                let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes>>(1);
                let body = stream::unfold(receiver, async |mut receiver| {
                    receiver.recv().await.map(|item| (item, receiver))
                });
                let reply = compress(Some(coding), json(Body::Stream(Box::pin(body))));
                let Body::Stream(mut body) = reply.body else {
                    panic!("a stream stays one");
                };
                sender.send(Ok(long())).await.unwrap();
                let first = body.next().await.unwrap().unwrap();
                let mut out = vec![0; long().len()];
                match coding {
                    "gzip" => GzipDecoder::new(&first[..]).read_exact(&mut out).await,
                    _ => BrotliDecoder::new(&first[..]).read_exact(&mut out).await,
                }
                .unwrap();
                assert_eq!(out, long());
            });
        }
    }

    #[test]
    fn an_error_of_the_body_stays_an_error() {
        for coding in ["gzip", "br"] {
            let chunks = vec![Ok(long()), Err(Error::internal("the database died"))];
            let reply = compress(
                Some(coding),
                json(Body::Stream(Box::pin(stream::iter(chunks)))),
            );
            assert!(run(decoded(coding, reply.body)).is_err());
        }
    }

    #[test]
    fn suffixes_are_forgotten_when_tags_come_back() {
        for (sent, tag) in [
            ("abc-gzip", "abc"),
            ("d-br", "d"),
            ("e-gzip-x", "e-gzip-x"),
            ("gzip", "gzip"),
            ("", ""),
        ] {
            assert_eq!(without_coding(sent), tag);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_the_body_can_be_decoded(
            accept in "[\\x20-\\x7e]{0,40}|((gzip|br|\\*|identity)(;q=[0-9.]{0,5})?, ?){0,4}",
        ) {
            let reply = compress(Some(&accept), json(Body::Bytes(long())));
            let coding = header(&reply, CONTENT_ENCODING).to_owned();
            proptest::prop_assert_eq!(run(decoded(&coding, reply.body)).unwrap(), long());
        }
    }
}
