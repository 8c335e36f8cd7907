//! The life of a request: identify → route → authorize → dispatch → encode. Knows nothing of the web framework.

mod arrival;
pub mod dispatch;
pub mod documents;
pub mod encode;
pub mod envelope;
pub mod neighbours;
pub mod operations;
pub mod permit;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{HeaderMap, Method, Uri};

use crate::auth::application::Application;
use crate::auth::authorize::{self, Admission};
use crate::auth::reason::{Reason, Refusal};
use crate::auth::route::{self, Target};
use crate::clock::Clock;
use crate::connector::access::RULE_FACT;
use crate::error::{Error, ErrorKind, Origin, Result};
use crate::exchange::format::negotiate;
use crate::exchange::{Body, CallContext, Format, Query, Reply, RequestHead, RequestId};
use crate::snapshot::publish::Reader;
use crate::snapshot::{Service, Snapshot};
use crate::telemetry::metrics::{Metrics, OperationMetrics};
use neighbours::SnapshotNeighbours;
use permit::{Permit, authorize, identify};

/// Serves requests on the current snapshot.
pub struct Gateway {
    reader: Reader,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Counters of what no service answers: documents, refusals before a service was found.
    own: Arc<OperationMetrics>,
}

/// What the closing line of a request says, gathered on the way.
#[derive(Default)]
struct Trail {
    application: Option<Arc<Application>>,
    service: Option<Arc<Service>>,
    operation: Option<&'static str>,
    reason: Option<Reason>,
    rule: Option<Arc<str>>,
}

impl Trail {
    /// Notes why something was refused.
    fn refused(&mut self, refusal: Refusal) -> Error {
        self.reason = Some(refusal.reason);
        self.rule = refusal.rule;
        refusal.error
    }

    /// Notes why something was allowed.
    fn admitted(&mut self, admission: &Admission) {
        self.reason = Some(admission.reason());
        self.rule = admission.rule().map(Arc::clone);
    }

    /// Notes that a call which was allowed touched what the role does not admit.
    fn refused_inside(&mut self, error: &Error) {
        if matches!(
            error.kind(),
            ErrorKind::Forbidden | ErrorKind::RowNotPermitted
        ) {
            self.reason = Some(Reason::RefusedInside);
            self.rule = error
                .facts()
                .iter()
                .find(|(name, _)| *name == RULE_FACT)
                .map(|(_, rule)| Arc::from(rule.as_str()));
        }
    }
}

impl Gateway {
    /// A gateway that serves what `reader` reads.
    pub fn new(reader: Reader, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let own = metrics.operation("", "gateway");
        Self {
            reader,
            clock,
            metrics,
            own,
        }
    }

    /// What is served now, and how it came to be.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The metrics of the daemon.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn handle(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        peer: IpAddr,
        body: Body,
    ) -> Reply {
        let received = self.clock.instant();
        let snapshot = self.reader.current();
        let in_flight = InFlight::enter(&self.metrics);
        let client = client_address(peer, &headers, &snapshot);
        let context = CallContext {
            id: RequestId::new(),
            received,
            deadline: received + snapshot.settings.request_timeout,
            client,
        };
        let head = RequestHead {
            method,
            uri,
            headers,
            client,
        };
        let id = context.id;
        let is_head = head.method == Method::HEAD;
        let original = head.method.clone();
        let path = head.uri.path().to_owned();
        let accept_encoding = head.headers.get(http::header::ACCEPT_ENCODING).cloned();
        let mut trail = Trail::default();
        let mut format = Format::Json;

        let outcome = if in_flight.count > snapshot.settings.max_in_flight {
            self.metrics.shed.fetch_add(1, Ordering::Relaxed);
            Err(Error::new(
                ErrorKind::Overloaded,
                "the gateway is at capacity",
            ))
        } else {
            self.answer(&snapshot, context, head, body, &mut trail, &mut format)
                .await
        };

        if let Err(error) = &outcome {
            log_error(error, id);
        }
        let reply = outcome.unwrap_or_else(|error| envelope::reply(&error, id, format));
        let reply = encode::encode(
            reply,
            id,
            &snapshot.revision,
            accept_encoding.as_ref(),
            is_head,
        );
        self.close(
            &snapshot, &trail, &original, &path, id, client, received, &reply,
        );
        reply
    }

    /// The steps of a request, top to bottom.
    async fn answer(
        &self,
        snapshot: &Arc<Snapshot>,
        context: CallContext,
        mut head: RequestHead,
        body: Body,
        trail: &mut Trail,
        format: &mut Format,
    ) -> Result<Reply> {
        let length = head
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if length > snapshot.settings.max_uri_bytes {
            return Err(Error::new(
                ErrorKind::UriTooLong,
                format!(
                    "path and query string are longer than {} bytes",
                    snapshot.settings.max_uri_bytes
                ),
            )
            .with_help(
                "send the options in the body of a POST with the header X-HTTP-Method: GET",
            ));
        }
        let query = Query::parse(head.query())?;
        *format = negotiate(&head, &query, Format::ALL).unwrap_or(Format::Json);
        let target = route::target(head.uri.path())?;
        if let Target::Root | Target::Docs(_) = &target {
            authorize::page(&head.method).map_err(|refusal| trail.refused(refusal))?;
            trail.admitted(&Admission::Page);
            return documents::page(&target, &head);
        }
        let caller = identify(snapshot, &head, &query, self.clock.as_ref())
            .map_err(|refusal| trail.refused(refusal))?;
        trail.application = Some(Arc::clone(caller.application()));
        head.method = route::tunnelled(&head.method, &head.headers, query.get("method"))?;
        if let Target::Service { service, .. } = &target {
            trail.service = snapshot.service(service).cloned();
        }
        let admission = authorize(snapshot, &caller, target, &head.method)
            .map_err(|refusal| trail.refused(refusal))?;
        trail.admitted(&admission);
        match admission {
            Admission::Services => documents::services(snapshot, &caller, &head, &query),
            Admission::ApiDocs(service) => {
                documents::api_docs(
                    snapshot,
                    &caller,
                    &head,
                    &query,
                    service.as_deref(),
                    context.deadline,
                    &self.clock,
                )
                .await
            }
            Admission::Options(options) => documents::options(options),
            Admission::Call(call) => {
                let permit = Permit::new(trail.service.as_ref(), call)?;
                trail.operation = Some(permit.operation());
                let neighbours = SnapshotNeighbours::new(snapshot, caller.application());
                let settings = &snapshot.settings;
                dispatch::dispatch(
                    permit,
                    context,
                    head,
                    body,
                    neighbours,
                    settings,
                    &self.clock,
                )
                .await
                .inspect_err(|error| trail.refused_inside(error))
            }
            Admission::Page => Err(Error::internal("a page was not served as one")),
        }
    }

    /// Counts and logs: one closing line for each request.
    #[expect(
        clippy::too_many_arguments,
        reason = "the closing line gathers what the whole life of a request knows"
    )]
    fn close(
        &self,
        snapshot: &Snapshot,
        trail: &Trail,
        method: &Method,
        path: &str,
        id: RequestId,
        client: IpAddr,
        received: Instant,
        reply: &Reply,
    ) {
        let duration = self.clock.instant().saturating_duration_since(received);
        let called = trail.service.as_ref().zip(trail.operation);
        let counters =
            called.and_then(|(service, operation)| service.counters(operation, &self.metrics));
        counters
            .unwrap_or(&self.own)
            .observe(reply.status, duration);
        let bytes = match &reply.body {
            Body::Empty => Some(0),
            Body::Bytes(bytes) => Some(bytes.len()),
            Body::Stream(_) => None,
        };
        tracing::info!(
            request.id = %id,
            client.address = %client,
            http.method = %method,
            http.path = path,
            http.status = reply.status.as_u16(),
            key.name = trail.application.as_ref().map(|application| application.key.name.as_str()),
            role.name = trail.application.as_ref().and_then(|application| application.role_name()),
            service.name = trail.service.as_ref().map(|service| service.name.as_str()),
            operation.name = trail.operation,
            decision = trail.reason.map(Reason::decision),
            reason = trail.reason.map(Reason::name),
            rule = trail.rule.as_deref(),
            duration_micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            bytes,
            revision = %snapshot.revision,
            "request"
        );
    }
}

/// One line for each error that is not the caller's own, with what the caller must not see; the same for the caller's
/// own errors at a level for developers.
fn log_error(error: &Error, id: RequestId) {
    match error.kind().origin() {
        Origin::Caller => tracing::debug!(request.id = %id, ?error, "refused"),
        Origin::Backend => tracing::warn!(request.id = %id, ?error, "the backend failed"),
        Origin::Gateway => match error.kind() {
            ErrorKind::Overloaded | ErrorKind::NotImplemented => {
                tracing::warn!(request.id = %id, ?error, "the gateway refused");
            }
            _ => tracing::error!(request.id = %id, ?error, "the gateway failed"),
        },
    }
}

/// The client's address: the peer, unless that is a trusted proxy; then the last address in `X-Forwarded-For` that is
/// not one.
fn client_address(peer: IpAddr, headers: &HeaderMap, snapshot: &Snapshot) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: IpAddr| {
        snapshot
            .settings
            .trusted_proxies
            .iter()
            .any(|range| range.contains(address))
    };
    if snapshot.settings.trusted_proxies.is_empty() || !trusted(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for part in value.to_str().unwrap_or("").rsplit(',') {
            let Ok(address) = part.trim().parse::<IpAddr>() else {
                return client;
            };
            client = address.to_canonical();
            if !trusted(client) {
                return client;
            }
        }
    }
    client
}

/// Counts a request while it is answered.
struct InFlight<'a> {
    metrics: &'a Metrics,
    count: usize,
}

impl<'a> InFlight<'a> {
    fn enter(metrics: &'a Metrics) -> Self {
        let before = metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            metrics,
            count: usize::try_from(before).unwrap_or(0).saturating_add(1),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
