//! Calls the connector: deadlines, hang-ups, writes that must finish, panics that must not spread.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::arrival::{request_timeout, timed};
use super::neighbours::SnapshotNeighbours;
use super::permit::Permit;
use crate::clock::Clock;
use crate::connector::operation::Effect;
use crate::connector::{Call, CallLimits};
use crate::error::{Error, ErrorKind, Origin, Result};
use crate::exchange::{Body, CallContext, Reply, RequestHead};
use crate::snapshot::{Service, Settings};

/// Longest that a call may take which takes its body as a stream of any length.
const LONGEST_STREAM: Duration = Duration::from_hours(1);

/// Carries out a permitted call.
///
/// A call whose body is a stream of any length has [`LONGEST_STREAM`], and its client may be silent as long as another
/// call may take.
///
/// When the client hangs up, this future is dropped: an operation that reads is dropped with it; one that writes runs
/// to its end in a task of its own.
pub async fn dispatch(
    permit: Permit,
    mut context: CallContext,
    head: RequestHead,
    body: Body,
    neighbours: SnapshotNeighbours,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Reply> {
    let (name, effect) = (permit.operation(), permit.effect());
    let (service, parameters, component, grant, access) = permit.into_parts();
    let now = clock.instant();
    let takes_stream = service.connector.takes_stream(name, &head);
    let patience = if takes_stream {
        context.deadline = now + LONGEST_STREAM;
        Some(settings.request_timeout)
    } else {
        None
    };
    let remaining = context.deadline.saturating_duration_since(now);
    let (body, arrival) = timed(body, remaining, patience);
    let neighbours = Arc::new(neighbours);
    let call = Call {
        operation: name,
        parameters,
        component,
        grant,
        access,
        head,
        body,
        limits: CallLimits {
            max_body_bytes: settings.max_body_bytes,
        },
        neighbours: Arc::<SnapshotNeighbours>::clone(&neighbours),
    };
    let work = AssertUnwindSafe(Arc::clone(&service.connector).call(context, call)).catch_unwind();
    let outcome = match effect {
        Effect::Reads => tokio::time::timeout(remaining, work).await,
        Effect::Writes | Effect::ChangesSchema => {
            let task = tokio::spawn(work);
            tokio::time::timeout(remaining, task)
                .await
                .map(|joined| joined.unwrap_or_else(|error| Err(Box::new(error.to_string()))))
        }
    };
    let outcome = match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Error::internal(panic_text(panic.as_ref()))),
        Err(_elapsed) if arrival.is_awaited() => Err(request_timeout()),
        Err(_elapsed) => Err(Error::new(
            ErrorKind::BackendTimeout,
            "the service did not answer in time",
        )),
    };
    note_health(&service, &outcome);
    let outcome = outcome.map(|reply| leased(&service, &neighbours, reply));
    outcome.map_err(|error| {
        error
            .with_fact("service", service.name.as_str())
            .with_fact("operation", name)
    })
}

/// An answer in pieces goes on as long as the service's lease, and those of the services that it reads along.
fn leased(service: &Service, neighbours: &SnapshotNeighbours, mut reply: Reply) -> Reply {
    reply.body = match neighbours.leased(reply.body) {
        Body::Stream(stream) => Body::Stream(service.lease.bind(stream)),
        whole => whole,
    };
    reply
}

/// What the outcome of a call says of the backend.
fn note_health(service: &Service, outcome: &Result<Reply>) {
    match outcome {
        Ok(_) => service.note_health(Ok(())),
        Err(error) => match error.kind() {
            ErrorKind::BackendUnavailable => service.note_health(Err(error)),
            // It may be the statement that is slow, and not the backend, or another backend that does not answer; the
            // next probe will tell.
            ErrorKind::BackendTimeout | ErrorKind::RelatedServiceUnavailable => {}
            kind if kind.origin() == Origin::Backend => service.note_health(Ok(())),
            _ => {}
        },
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    format!("panic: {text}")
}
