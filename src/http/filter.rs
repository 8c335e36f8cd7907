//! One catch-all warp filter: warp's request ⇄ ours.
//!
//! Requests and answers travel past warp's own body types in a slot (an extension of an empty request): that keeps
//! bodies that are not `Sync`, and costs less than warp's boxed bodies.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::{Request, Response};
use tower_service::Service as _;
use warp::Filter;

use super::body::{Leaving, incoming};
use crate::exchange::{Body, Reply};
use crate::pipeline::Gateway;
use crate::pipeline::operations::{Readiness, answer};

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What travels past warp: the request on the way in, the answer on the way out.
#[derive(Default)]
struct Slot {
    request: Option<Request<Incoming>>,
    answer: Option<Reply>,
}

type Carry = Arc<Mutex<Slot>>;

/// What answers the requests of one listener.
#[derive(Clone)]
pub(super) enum Answerer {
    /// Callers.
    Api(Arc<Gateway>),
    /// Operators.
    Operations(Arc<Gateway>, Arc<Readiness>),
}

impl Answerer {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Reply {
        let (parts, body) = request.into_parts();
        match self {
            Self::Api(gateway) => {
                gateway
                    .handle(parts.method, parts.uri, parts.headers, peer, incoming(body))
                    .await
            }
            Self::Operations(gateway, readiness) => {
                let mut reply = answer(gateway, readiness, &parts.method, parts.uri.path());
                if parts.method == http::Method::HEAD {
                    reply.body = Body::Empty;
                }
                reply
            }
        }
    }
}

/// Serves one request.
pub(super) async fn serve(
    answerer: Answerer,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<Leaving>, Infallible> {
    let mut head = Request::new(String::new());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    let carry: Carry = Arc::new(Mutex::new(Slot {
        request: Some(request),
        answer: None,
    }));
    head.extensions_mut().insert(Arc::clone(&carry));
    let mut service = warp::service(catch_all(answerer, peer));
    let fallback = service.call(head).await?;
    let answer = carry
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .answer
        .take();
    Ok(match answer {
        Some(reply) => {
            let mut response = Response::new(Leaving::from(reply.body));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            response
        }
        // Only a rejection inside warp leaves the slot empty, and the filter below makes none.
        None => fallback.map(|_| Leaving::Empty),
    })
}

fn catch_all(
    answerer: Answerer,
    Peer(peer): Peer,
) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    warp::ext::get::<Carry>().then(move |carry: Carry| {
        let answerer = answerer.clone();
        // In a box, because warp and hyper move this future about, and it is large.
        Box::pin(async move {
            let request = carry
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .request
                .take();
            if let Some(request) = request {
                let reply = answerer.answer(request, peer).await;
                carry.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(reply);
            }
            warp::reply()
        })
    })
}
