//! Waiting for futures, one after another, with one timer that is registered only when something really waits.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer over several steps, which rings twice: when patience ends, and at the limit.
pub(super) struct Wait<'a> {
    timer: Pin<&'a mut Sleep>,
    is_extended: bool,
}

impl<'a> Wait<'a> {
    /// `timer` runs until patience ends.
    pub(super) fn new(timer: Pin<&'a mut Sleep>) -> Self {
        Self {
            timer,
            is_extended: false,
        }
    }

    /// The future's output, or `None` when the timer rings.
    pub(super) async fn run<F: Future>(&mut self, mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            self.timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// After the first ringing: runs for `limit` more. False after the second.
    pub(super) fn extend(&mut self, limit: Duration) -> bool {
        if self.is_extended {
            return false;
        }
        self.restart(limit);
        true
    }

    /// Rings `limit` from now, and is done then.
    pub(super) fn restart(&mut self, limit: Duration) {
        self.is_extended = true;
        self.timer.as_mut().reset(Instant::now() + limit);
    }
}
