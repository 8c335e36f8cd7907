//! How long the answers of a connector may go on: for ever while a revision has it, and for a while after.
//!
//! A long answer holds its connector, and with it a pool and a cache, whatever is published meanwhile. A connector that the
//! new revision kept goes on; one that was replaced or removed is let go when its time is over, however slow the reader.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Snapshot;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::ByteStream;

/// The lease of one connector; it stays with the connector over revisions.
#[derive(Debug)]
pub struct Lease(watch::Sender<Option<Instant>>);

impl Default for Lease {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Lease {
    /// The connector's answers break at `moment`. What was said first holds.
    pub fn end_at(&self, moment: Instant) {
        self.0.send_if_modified(|end| {
            let is_news = end.is_none();
            end.get_or_insert(moment);
            is_news
        });
    }

    /// The same answer, which breaks when the lease ends, even while nobody reads on: what it holds is let go then. Must be
    /// called within the runtime.
    pub fn bind(&self, stream: ByteStream) -> ByteStream {
        let mut end = self.0.subscribe();
        let slot = Arc::new(Mutex::new(Slot {
            stream: Some(stream),
            reader: None,
        }));
        let held = Arc::downgrade(&slot);
        let over = tokio::spawn(async move {
            let moment = end
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|end| *end);
            // Without a moment the connector is gone, and nobody ended its lease: the daemon is ending.
            if let Some(moment) = moment {
                tokio::time::sleep_until(moment.into()).await;
                if let Some(slot) = held.upgrade() {
                    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                    slot.stream = None;
                    if let Some(reader) = slot.reader.take() {
                        reader.wake();
                    }
                }
            }
        });
        Box::pin(Bound {
            slot,
            over,
            has_ended: false,
        })
    }
}

/// Ends the leases of the connectors that `next` has no more, at `moment`.
pub fn end_leases(previous: &Snapshot, next: &Snapshot, moment: Instant) {
    for (name, service) in &previous.services {
        let is_kept = next
            .services
            .get(name)
            .is_some_and(|kept| Arc::ptr_eq(&kept.lease, &service.lease));
        if !is_kept {
            service.lease.end_at(moment);
        }
    }
}

/// What a lease can take away from an answer.
struct Slot {
    /// None once it was given up.
    stream: Option<ByteStream>,
    /// Who waits for the next piece.
    reader: Option<Waker>,
}

struct Bound {
    slot: Arc<Mutex<Slot>>,
    over: JoinHandle<()>,
    has_ended: bool,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.over.abort();
    }
}

impl Stream for Bound {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut slot = this.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = &mut slot.stream else {
            if std::mem::replace(&mut this.has_ended, true) {
                return Poll::Ready(None);
            }
            return Poll::Ready(Some(Err(Error::new(
                ErrorKind::BackendUnavailable,
                "the service was replaced or removed, and the answer took longer than `stream_drain_seconds`",
            ))));
        };
        let polled = stream.as_mut().poll_next(context);
        slot.reader = polled.is_pending().then(|| context.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use futures_util::{StreamExt as _, stream};
    use std::time::Duration;

    fn endless() -> ByteStream {
        Box::pin(stream::repeat_with(|| Ok(Bytes::from_static(b"x"))))
    }

    #[tokio::test]
    async fn an_answer_goes_on_while_the_connector_is_kept_and_breaks_when_its_lease_ends() {
        let lease = Lease::default();
        let mut answer = lease.bind(endless());
        for _ in 0..3 {
            assert!(answer.next().await.unwrap().is_ok());
        }
        lease.end_at(SystemClock.instant() + Duration::from_hours(1));
        assert!(answer.next().await.unwrap().is_ok(), "its hour is not over");
        lease.end_at(SystemClock.instant());
        assert!(
            answer.next().await.unwrap().is_ok(),
            "what was said first holds"
        );
        let lease = Lease::default();
        let mut answer = lease.bind(endless());
        lease.end_at(SystemClock.instant());
        let error = loop {
            match answer.next().await.unwrap() {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
        assert!(answer.next().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_its_backend_is_woken() {
        let lease = Lease::default();
        let mut answer = lease.bind(Box::pin(stream::pending()));
        let waiting = tokio::spawn(async move { answer.next().await });
        tokio::task::yield_now().await;
        lease.end_at(SystemClock.instant());
        assert!(waiting.await.unwrap().unwrap().is_err());
    }

    #[tokio::test]
    async fn an_answer_may_outlive_whoever_holds_the_lease() {
        let lease = Lease::default();
        let mut answer = lease.bind(endless());
        drop(lease);
        assert!(answer.next().await.unwrap().is_ok());
        assert!(answer.next().await.unwrap().is_ok());
    }
}
