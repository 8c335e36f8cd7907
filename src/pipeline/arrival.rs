//! A request's body with the deadline of its request: who sends it too slowly is told so, and no backend is blamed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use crate::error::{Error, ErrorKind, Result};
use crate::exchange::{Body, ByteStream};

/// Whether a body that is read elsewhere is still on its way.
#[derive(Clone, Debug)]
pub(super) struct Arrival(Option<Arc<AtomicBool>>);

impl Arrival {
    /// Whether the reader of the body still waits for the client, or waited for it until the deadline.
    pub(super) fn is_awaited(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|awaited| awaited.load(Ordering::Acquire))
    }
}

/// The same body, whose reader gets [`request_timeout`] when it is not all there after `remaining`, or when the client
/// lets its reader wait for longer than `patience`.
pub(super) fn timed(
    body: Body,
    remaining: Duration,
    patience: Option<Duration>,
) -> (Body, Arrival) {
    let stream = match body {
        Body::Empty | Body::Bytes(_) => return (body, Arrival(None)),
        Body::Stream(stream) => stream,
    };
    let awaited = Arc::new(AtomicBool::new(false));
    let timed = Timed {
        stream,
        deadline: Box::pin(tokio::time::sleep(remaining)),
        silence: patience.map(|patience| (patience, Box::pin(tokio::time::sleep(patience)))),
        awaited: Arc::clone(&awaited),
        is_late: false,
    };
    (Body::Stream(Box::pin(timed)), Arrival(Some(awaited)))
}

/// The error of a body that did not arrive in time.
pub(super) fn request_timeout() -> Error {
    Error::new(
        ErrorKind::RequestTimeout,
        "the body of the request did not arrive in time",
    )
    .with_help(
        "send it faster or in smaller parts, or raise `request_timeout_seconds` in the [gateway] table",
    )
}

struct Timed {
    stream: ByteStream,
    deadline: Pin<Box<Sleep>>,
    /// How long the client may be silent, counted from when its reader began to wait.
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Whether somebody waits for the client.
    awaited: Arc<AtomicBool>,
    is_late: bool,
}

impl Stream for Timed {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(item) = this.stream.as_mut().poll_next(context) {
            this.awaited.store(false, Ordering::Release);
            return Poll::Ready(item);
        }
        let waits_already = this.awaited.swap(true, Ordering::AcqRel);
        let mut is_over = this.deadline.as_mut().poll(context).is_ready();
        if let Some((patience, silence)) = &mut this.silence {
            if !waits_already {
                silence
                    .as_mut()
                    .reset(tokio::time::Instant::now() + *patience);
            }
            is_over |= silence.as_mut().poll(context).is_ready();
        }
        if is_over {
            this.is_late = true;
            return Poll::Ready(Some(Err(request_timeout())));
        }
        Poll::Pending
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        // A body that came late stays awaited, for whoever asks after its reader gave up.
        if !self.is_late {
            self.awaited.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};

    fn body(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Body {
        Body::Stream(Box::pin(stream))
    }

    #[tokio::test]
    async fn half_a_body_is_a_request_timeout_and_stays_awaited() {
        let half = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
        let (body, arrival) = timed(body(half), Duration::ZERO, None);
        assert!(!arrival.is_awaited(), "nobody has asked for it yet");
        let error = body.collect(1_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestTimeout);
        assert!(arrival.is_awaited());
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_read_whatever_the_time() {
        let whole = stream::iter([Ok(Bytes::from_static(b"a")), Ok(Bytes::from_static(b"b"))]);
        let (body, arrival) = timed(body(whole), Duration::ZERO, None);
        assert_eq!(body.collect(1_000).await.unwrap(), "ab");
        assert!(!arrival.is_awaited());
    }

    #[tokio::test]
    async fn the_silence_of_a_client_counts_and_the_pauses_of_its_reader_do_not() {
        let pieces = stream::repeat_with(|| Ok(Bytes::from_static(b"x"))).take(3);
        let patience = Duration::from_millis(50);
        let slow = pieces.chain(stream::once(std::future::pending()));
        let (body, arrival) = timed(body(slow), Duration::from_hours(1), Some(patience));
        let Body::Stream(mut body) = body else {
            panic!("a stream stays one")
        };
        for _ in 0..3 {
            tokio::time::sleep(patience * 2).await;
            assert!(body.next().await.unwrap().is_ok());
        }
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestTimeout);
        assert!(arrival.is_awaited());
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_on_is_not_awaited() {
        let half = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
        let (body, arrival) = timed(body(half), Duration::from_hours(1), None);
        let refused = body.collect(1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PayloadTooLarge);
        assert!(!arrival.is_awaited());
    }
}
