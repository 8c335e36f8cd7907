//! Bodies: nothing, some bytes, or a stream; collected only with a limit.
//!
//! A result of unknown size is a body that *drives* the work filling it: [`drive`] holds the work's future and
//! the receiving end of a channel of one chunk and polls both. One task serves the whole request, a slow reader
//! slows the query, and dropping the body drops the query.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};

/// A body arriving or leaving in pieces. An error breaks the connection: a truncated body never looks whole.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The body of a request or of an answer.
pub enum Body {
    /// No body.
    Empty,
    /// A body that is all there.
    Bytes(Bytes),
    /// A body of unknown size.
    Stream(ByteStream),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => formatter.write_str("Empty"),
            Self::Bytes(bytes) => write!(formatter, "Bytes({})", bytes.len()),
            Self::Stream(_) => formatter.write_str("Stream"),
        }
    }
}

impl Body {
    /// All of the body, if it is no longer than `limit` bytes; 413 otherwise.
    pub async fn collect(self, limit: usize) -> Result<Bytes> {
        let too_large = || {
            Error::new(
                ErrorKind::PayloadTooLarge,
                format!("the body is larger than {limit} bytes"),
            )
            .with_help(
                "send fewer records at a time, or raise `max_body_bytes` in the [gateway] table",
            )
        };
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Bytes(bytes) if bytes.len() <= limit => Ok(bytes),
            Self::Bytes(_) => Err(too_large()),
            Self::Stream(mut stream) => {
                let mut whole = BytesMut::new();
                while let Some(chunk) = stream.next().await {
                    let chunk = chunk?;
                    if whole.len().saturating_add(chunk.len()) > limit {
                        return Err(too_large());
                    }
                    whole.extend_from_slice(&chunk);
                }
                Ok(whole.freeze())
            }
        }
    }
}

/// The sending end that a driven work fills. At most one chunk waits in it.
#[derive(Clone, Debug)]
pub struct ChunkSender(mpsc::Sender<Bytes>);

impl ChunkSender {
    /// Hands over a chunk; waits while the reader is slow. Fails when the reader is gone.
    pub async fn send(&self, chunk: Bytes) -> Result<()> {
        self.0.send(chunk).await.map_err(|_closed| reader_gone())
    }

    /// The same for a thread that may block.
    pub fn send_blocking(&self, chunk: Bytes) -> Result<()> {
        self.0.blocking_send(chunk).map_err(|_closed| reader_gone())
    }
}

fn reader_gone() -> Error {
    Error::internal("the reader of a body went away")
}

/// Runs `work` until it ends or sends its first chunk. Work that ends without having sent a chunk gives its
/// bytes whole; otherwise the rest of it is driven by whoever reads the body. An error before the first chunk
/// is a proper error; a later one breaks the body.
pub async fn drive<F, W>(work: W) -> Result<Body>
where
    W: FnOnce(ChunkSender) -> F,
    F: Future<Output = Result<Bytes>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let mut driven = Driven {
        work: Some(Box::pin(work(ChunkSender(sender)))),
        receiver,
    };
    let first = std::future::poll_fn(|context| driven.poll_first(context)).await?;
    Ok(match first {
        First::Whole(bytes) => Body::Bytes(bytes),
        First::Chunk(chunk) => Body::Stream(Box::pin(
            futures_util::stream::iter([Ok(chunk)]).chain(driven),
        )),
    })
}

enum First {
    Whole(Bytes),
    Chunk(Bytes),
}

struct Driven<F> {
    work: Option<Pin<Box<F>>>,
    receiver: mpsc::Receiver<Bytes>,
}

impl<F: Future<Output = Result<Bytes>>> Driven<F> {
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Result<First>> {
        if let Some(work) = &mut self.work
            && let Poll::Ready(end) = work.as_mut().poll(context)
        {
            self.work = None;
            let last = end?;
            // The work may have sent one chunk and ended in the same poll.
            return Poll::Ready(Ok(match self.receiver.try_recv() {
                Ok(chunk) => First::Whole(joined(chunk, &last)),
                Err(_empty) => First::Whole(last),
            }));
        }
        match self.receiver.poll_recv(context) {
            Poll::Ready(Some(chunk)) => Poll::Ready(Ok(First::Chunk(chunk))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

fn joined(first: Bytes, last: &[u8]) -> Bytes {
    if last.is_empty() {
        return first;
    }
    let mut whole = BytesMut::with_capacity(first.len().saturating_add(last.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(last);
    whole.freeze()
}

impl<F: Future<Output = Result<Bytes>>> Stream for Driven<F> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(Some(chunk)) = this.receiver.poll_recv(context) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let Some(work) = &mut this.work else {
            return Poll::Ready(None);
        };
        match work.as_mut().poll(context) {
            Poll::Ready(end) => {
                this.work = None;
                match (end, this.receiver.try_recv()) {
                    (Ok(last), Ok(chunk)) => Poll::Ready(Some(Ok(joined(chunk, &last)))),
                    (Ok(last), Err(_)) if last.is_empty() => Poll::Ready(None),
                    (Ok(last), Err(_)) => Poll::Ready(Some(Ok(last))),
                    (Err(error), _) => Poll::Ready(Some(Err(error))),
                }
            }
            Poll::Pending => match this.receiver.poll_recv(context) {
                Poll::Ready(Some(chunk)) => Poll::Ready(Some(Ok(chunk))),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl<F> Unpin for Driven<F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn a_small_result_is_whole() {
        let body = runtime()
            .block_on(drive(|_| async { Ok(Bytes::from_static(b"all")) }))
            .unwrap();
        assert!(matches!(body, Body::Bytes(bytes) if bytes == "all"));
    }

    #[test]
    fn chunks_arrive_in_order_and_the_work_waits_for_the_reader() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        runtime().block_on(async move {
            let body = drive(move |sender| async move {
                for number in 0..10_u8 {
                    sender
                        .send(Bytes::copy_from_slice(&[b'0' + number]))
                        .await?;
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Bytes::from_static(b"end"))
            })
            .await
            .unwrap();
            assert!(
                sent.load(Ordering::SeqCst) <= 2,
                "the work ran ahead of its reader"
            );
            assert_eq!(body.collect(100).await.unwrap(), "0123456789end");
        });
    }

    #[test]
    fn an_early_error_is_an_error_and_a_late_one_breaks_the_body() {
        runtime().block_on(async {
            assert!(
                drive(|_| async { Err(Error::internal("early")) })
                    .await
                    .is_err()
            );
            let body = drive(|sender| async move {
                sender.send(Bytes::from_static(b"a")).await?;
                sender.send(Bytes::from_static(b"b")).await?;
                Err(Error::internal("late"))
            })
            .await
            .unwrap();
            assert!(body.collect(100).await.is_err());
        });
    }

    #[test]
    fn dropping_the_body_drops_the_work() {
        struct Guard(Arc<AtomicUsize>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let guard = Guard(Arc::clone(&dropped));
        runtime().block_on(async move {
            let body = drive(move |sender| async move {
                let _guard = guard;
                loop {
                    sender.send(Bytes::from_static(b"x")).await?;
                }
            })
            .await
            .unwrap();
            drop(body);
        });
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_body_over_the_limit_is_413() {
        let error = runtime()
            .block_on(Body::Bytes(Bytes::from_static(b"12345")).collect(4))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
    }
}
