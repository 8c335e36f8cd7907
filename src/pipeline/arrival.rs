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

/// The same body, whose reader gets [`request_timeout`] when it is not all there after `remaining`.
pub(super) fn timed(body: Body, remaining: Duration) -> (Body, Arrival) {
    let stream = match body {
        Body::Empty | Body::Bytes(_) => return (body, Arrival(None)),
        Body::Stream(stream) => stream,
    };
    let awaited = Arc::new(AtomicBool::new(false));
    let timed = Timed {
        stream,
        deadline: Box::pin(tokio::time::sleep(remaining)),
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
        this.awaited.store(true, Ordering::Release);
        match this.deadline.as_mut().poll(context) {
            Poll::Ready(()) => {
                this.is_late = true;
                Poll::Ready(Some(Err(request_timeout())))
            }
            Poll::Pending => Poll::Pending,
        }
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
        let (body, arrival) = timed(body(half), Duration::ZERO);
        assert!(!arrival.is_awaited(), "nobody has asked for it yet");
        let error = body.collect(1_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestTimeout);
        assert!(arrival.is_awaited());
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_read_whatever_the_time() {
        let whole = stream::iter([Ok(Bytes::from_static(b"a")), Ok(Bytes::from_static(b"b"))]);
        let (body, arrival) = timed(body(whole), Duration::ZERO);
        assert_eq!(body.collect(1_000).await.unwrap(), "ab");
        assert!(!arrival.is_awaited());
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_on_is_not_awaited() {
        let half = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
        let (body, arrival) = timed(body(half), Duration::from_hours(1));
        let refused = body.collect(1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PayloadTooLarge);
        assert!(!arrival.is_awaited());
    }
}
