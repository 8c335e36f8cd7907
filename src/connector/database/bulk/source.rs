//! A body as it arrives: bytes that wait to be read, and no more of them than one record may have.

use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;

use crate::error::{Error, ErrorKind, Result};
use crate::exchange::{Body, ByteStream};

/// Most bytes that one record may have: 10 MiB.
pub(super) const MAX_RECORD_BYTES: usize = 10 * 1024 * 1024;

/// A body as it arrives.
pub(super) struct Source {
    /// None when all of it has arrived.
    stream: Option<ByteStream>,
    waiting: BytesMut,
    received: u64,
    most: u64,
}

impl Source {
    /// A body of at most so many bytes.
    pub(super) fn new(body: Body, most: u64) -> Result<Self> {
        let mut waiting = BytesMut::new();
        let stream = match body {
            Body::Empty => None,
            Body::Bytes(bytes) => {
                waiting.extend_from_slice(&bytes);
                None
            }
            Body::Stream(stream) => Some(stream),
        };
        let received = waiting.len() as u64;
        let source = Self {
            stream,
            waiting,
            received,
            most,
        };
        source.check_size()?;
        Ok(source)
    }

    /// The bytes that wait.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Whether nothing will follow them.
    pub(super) fn is_last(&self) -> bool {
        self.stream.is_none()
    }

    /// The first bytes are done with.
    pub(super) fn take(&mut self, count: usize) {
        self.waiting.advance(count.min(self.waiting.len()));
    }

    /// Waits for more bytes, because those that wait are part of one record. So that a long record is not looked
    /// through for each piece of it, there are twice as many afterwards, or all there are.
    pub(super) async fn more(&mut self) -> Result<()> {
        if self.waiting.len() >= MAX_RECORD_BYTES {
            return Err(Error::new(
                ErrorKind::PayloadTooLarge,
                format!("a record is larger than {MAX_RECORD_BYTES} bytes"),
            )
            .with_help("is a quote left open, or are line ends missing?"));
        }
        let wanted = self.waiting.len().saturating_mul(2).min(MAX_RECORD_BYTES);
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            match stream.next().await {
                None => self.stream = None,
                Some(piece) => {
                    let piece = piece?;
                    self.received = self.received.saturating_add(piece.len() as u64);
                    self.check_size()?;
                    self.waiting.extend_from_slice(&piece);
                }
            }
            if self.waiting.len() > wanted {
                return Ok(());
            }
        }
    }

    fn check_size(&self) -> Result<()> {
        if self.received <= self.most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PayloadTooLarge,
            format!("the body is larger than {} bytes", self.most),
        )
        .with_help(
            "send the records in several requests, or raise `max_bulk_bytes` of the service",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::stream;

    fn body(pieces: Vec<&'static [u8]>) -> Body {
        let pieces = pieces
            .into_iter()
            .map(|piece| Ok(Bytes::from_static(piece)));
        Body::Stream(Box::pin(stream::iter(pieces)))
    }

    #[tokio::test]
    async fn pieces_are_joined_until_there_are_twice_as_many_bytes() {
        let mut source = Source::new(body(vec![b"abcd", b"e", b"f", b"ghij", b"k"]), 100).unwrap();
        source.more().await.unwrap();
        assert_eq!(source.waiting(), b"abcd");
        source.more().await.unwrap();
        assert_eq!(source.waiting(), b"abcdefghij");
        source.take(9);
        source.more().await.unwrap();
        source.more().await.unwrap();
        assert_eq!((source.waiting(), source.is_last()), (&b"jk"[..], true));
    }

    #[tokio::test]
    async fn neither_a_body_nor_a_record_grows_without_bound() {
        let mut source = Source::new(body(vec![b"abcd", b"efgh"]), 6).unwrap();
        source.more().await.unwrap();
        let error = source.more().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
        assert!(Source::new(Body::Bytes(Bytes::from_static(b"1234567")), 6).is_err());

        let endless = stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1024 * 1024])));
        let mut source = Source::new(Body::Stream(Box::pin(endless)), u64::MAX).unwrap();
        let error = loop {
            if let Err(error) = source.more().await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
        assert!(source.waiting().len() <= MAX_RECORD_BYTES + 1024 * 1024);
    }
}
