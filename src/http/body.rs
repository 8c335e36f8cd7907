//! Bodies between hyper's form and ours.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::exchange::{Body, ByteStream};

/// An arriving body as ours. Trailers are dropped.
pub(super) fn incoming(body: Incoming) -> Body {
    if body.is_end_stream() {
        Body::Empty
    } else {
        Body::Stream(Box::pin(Arriving(body)))
    }
}

struct Arriving(Incoming);

impl Stream for Arriving {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.0).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(Error::new(
                        ErrorKind::InvalidRequest,
                        "the body broke off before its end",
                    )
                    .with_source(error))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

/// A leaving body as hyper's.
pub(super) enum Leaving {
    /// Nothing, or nothing more.
    Empty,
    /// All of it.
    Whole(Bytes),
    /// Piece by piece; an error breaks the connection.
    Pieces(Watched),
}

/// How long an answer may wait for its reader to take the next piece. It is given up after this and before twice this.
const READER_PATIENCE: Duration = Duration::from_mins(1);

/// An answer in pieces that is watched: what fills it, a statement on one of few connections, must not be held for
/// ever by a reader who stopped reading. The stream cannot see to that itself, because nobody polls it then.
pub(super) struct Watched {
    pieces: Arc<Mutex<Pieces>>,
    watcher: AbortHandle,
}

struct Pieces {
    /// None once it was given up.
    stream: Option<ByteStream>,
    /// Pieces that the reader took.
    taken: u64,
    /// Whether it is the reader's turn.
    waits_for_reader: bool,
    /// The pieces taken when it was looked at last, if it was the reader's turn then.
    seen: Option<u64>,
}

impl Watched {
    fn new(stream: ByteStream, patience: Duration) -> Self {
        let pieces = Arc::new(Mutex::new(Pieces {
            stream: Some(stream),
            taken: 0,
            waits_for_reader: true,
            seen: None,
        }));
        let watcher = tokio::spawn(watch(Arc::downgrade(&pieces), patience)).abort_handle();
        Self { pieces, watcher }
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = &mut *pieces;
        let Some(stream) = &mut pieces.stream else {
            return Poll::Ready(Some(Err(Error::new(
                ErrorKind::RequestTimeout,
                "the answer was not read on in time",
            ))));
        };
        let polled = stream.as_mut().poll_next(context);
        pieces.waits_for_reader = polled.is_ready();
        pieces.taken = pieces.taken.wrapping_add(1);
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Pieces {
    /// Looks once in a while; whether nothing was taken since the last look, though it was the reader's turn.
    fn is_abandoned(&mut self) -> bool {
        let turn = self.waits_for_reader.then_some(self.taken);
        let is_abandoned = turn.is_some() && turn == self.seen;
        self.seen = turn;
        is_abandoned
    }
}

async fn watch(pieces: Weak<Mutex<Pieces>>, patience: Duration) {
    loop {
        tokio::time::sleep(patience).await;
        let Some(pieces) = pieces.upgrade() else {
            return;
        };
        // Locked, it is being read from.
        let abandoned = pieces
            .try_lock()
            .ok()
            .and_then(|mut pieces| pieces.is_abandoned().then(|| pieces.stream.take()));
        if abandoned.is_some() {
            tracing::info!("an answer was given up, because its reader stopped reading");
            return;
        }
    }
}

impl From<Body> for Leaving {
    fn from(body: Body) -> Self {
        match body {
            Body::Empty => Self::Empty,
            Body::Bytes(bytes) => Self::Whole(bytes),
            Body::Stream(stream) => Self::Pieces(Watched::new(stream, READER_PATIENCE)),
        }
    }
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => match pieces.poll_next(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(?error, "an answer broke off");
                    Poll::Ready(Some(Err(error)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_fills_an_answer_is_let_go_when_its_reader_stops() {
        let (held, let_go) = oneshot::channel::<()>();
        let endless = stream::repeat(Bytes::from_static(b"piece")).map(move |piece| {
            let _held = &held;
            Ok(piece)
        });
        let answer = Watched::new(Box::pin(endless), Duration::from_millis(1));
        let next = async || std::future::poll_fn(|context| answer.poll_next(context)).await;
        assert!(next().await.unwrap().is_ok());
        let_go.await.unwrap_err();
        let error = next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestTimeout);
    }

    #[tokio::test]
    async fn only_a_reader_whose_turn_it_is_can_be_late() {
        let slow = stream::iter([Ok(Bytes::from_static(b"piece"))]).chain(stream::pending());
        let answer = Watched::new(Box::pin(slow), READER_PATIENCE);
        let look = || answer.pieces.lock().unwrap().is_abandoned();
        let read = || {
            let mut context = Context::from_waker(std::task::Waker::noop());
            answer.poll_next(&mut context).is_ready()
        };
        assert!(!look());
        assert!(read());
        assert!(!look(), "it has just read");
        assert!(!read());
        assert!(!look(), "it is the database's turn");
        assert!(!look(), "and still is");
    }
}
