//! Bind, accept, serve, drain.
//!
//! A drain has three steps. While the daemon is not ready any more but still accepts, answers tell clients to close their
//! connections (`Connection: close`). Then nothing is accepted; connections that are open get a moment for a request that
//! is on its way, so that a restart on inherited sockets loses none. Last, idle connections are closed, and what runs may
//! finish until the deadline.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::filter::{Answerer, Peer, serve};
use crate::pipeline::Gateway;
use crate::pipeline::operations::Readiness;

/// How long a connection may be silent before its first request and between two.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Connections open at a time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// How long sent bytes may stay unacknowledged, or the client's window closed, before the kernel ends a connection.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Connections that the kernel keeps waiting.
const BACKLOG: i32 = 1024;
/// Most bytes of a request head; more is answered 431, as are more than hyper's default of 100 headers (asking for just
/// that number would cost an array on the heap for each request).
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a connection that is open when nothing is accepted any more may still send a request.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait after the system refused a connection for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener.
pub struct Listener(TcpListener);

impl Listener {
    /// Binds an address. Must be called within the runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into()).map(Self)
    }

    /// A socket that listens already, handed over by whoever started the daemon. Must be called within the runtime.
    pub fn inherit(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self)
    }

    /// The address that was really bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Asks whether a server still accepts.
#[derive(Clone, Debug)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

impl Pulse {
    /// Whether the server accepts, and says so within `patience`.
    pub async fn beats(&self, patience: Duration) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            match self.0.send(answer).await {
                Ok(()) => answered.await.is_ok(),
                Err(_gone) => false,
            }
        };
        tokio::time::timeout(patience, asked).await.unwrap_or(false)
    }
}

/// Serves one listener until it is told to stop.
pub struct Server {
    answerer: Answerer,
    connections: Arc<Semaphore>,
    gateway: Arc<Gateway>,
    readiness: Arc<Readiness>,
    counts: bool,
    linger: Duration,
    pulse: Pulse,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Server {
    /// Serves callers.
    pub fn api(gateway: Arc<Gateway>, readiness: Arc<Readiness>) -> Self {
        let answerer = Answerer::Api(Arc::clone(&gateway));
        Self {
            counts: true,
            linger: LINGER,
            ..Self::new(answerer, gateway, readiness)
        }
    }

    /// Serves operators.
    pub fn operations(gateway: Arc<Gateway>, readiness: Arc<Readiness>) -> Self {
        let answerer = Answerer::Operations(Arc::clone(&gateway), Arc::clone(&readiness));
        Self::new(answerer, gateway, readiness)
    }

    fn new(answerer: Answerer, gateway: Arc<Gateway>, readiness: Arc<Readiness>) -> Self {
        let (sender, asked) = mpsc::channel(1);
        Self {
            answerer,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            gateway,
            readiness,
            counts: false,
            linger: Duration::ZERO,
            pulse: Pulse(sender),
            asked,
        }
    }

    /// Asks this server whether it still accepts.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Accepts until `stop` turns true, then lets running requests finish for at most `drain`. Says whether all did.
    pub async fn run(
        mut self,
        listener: Listener,
        mut stop: watch::Receiver<bool>,
        drain: Duration,
    ) -> bool {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.connections, &listener) => accepted,
                Some(answer) = self.asked.recv() => {
                    let _ = answer.send(());
                    continue;
                }
                _ = stop.wait_for(|stopped| *stopped) => break,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let watcher = graceful.watcher();
            let answerer = self.answerer.clone();
            let readiness = Arc::clone(&self.readiness);
            let gateway = Arc::clone(&self.gateway);
            let counts = self.counts;
            tokio::spawn(async move {
                let _permit = permit;
                let _counted = counts.then(|| Counted::new(gateway));
                connection(stream, peer, answerer, readiness, watcher).await;
            });
        }
        // An inherited socket stays open where it came from: connections that wait in its queue are the next daemon's.
        drop(listener);
        let work = self.drain(graceful);
        tokio::time::timeout(drain, work).await.is_ok()
    }

    /// Ends when all connections are closed.
    async fn drain(self, graceful: GracefulShutdown) {
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let closed = tokio::time::timeout(self.linger, self.connections.acquire_many(all)).await;
        if closed.is_err() {
            graceful.shutdown().await;
        }
    }
}

async fn accept(
    connections: &Arc<Semaphore>,
    listener: &Listener,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.0.accept().await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    answerer: Answerer,
    readiness: Arc<Readiness>,
    watcher: Watcher,
) {
    let peer = Peer(peer.ip());
    let has_begun = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&has_begun);
    let service = service_fn(move |request: Request<Incoming>| {
        begun.store(true, Ordering::Relaxed);
        let is_old = request.version() < Version::HTTP_2;
        let readiness = Arc::clone(&readiness);
        let reply = serve(answerer.clone(), peer, request);
        async move {
            let mut response = reply.await?;
            // HTTP/2 has frames for this, which the graceful shutdown sends.
            if is_old && !readiness.is_ready() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(IDLE_TIMEOUT));
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    // hyper sets no time for the bytes by which it tells the versions apart (hyperium/hyper#3756).
    let silent = async {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        if has_begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        outcome = watcher.watch(served) => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        () = silent => tracing::debug!("a connection sent no request in time"),
    }
}

struct Counted(Arc<Gateway>);

impl Counted {
    fn new(gateway: Arc<Gateway>) -> Self {
        gateway
            .metrics()
            .connections
            .fetch_add(1, Ordering::Relaxed);
        Self(gateway)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics().connections.fetch_sub(1, Ordering::Relaxed);
    }
}
