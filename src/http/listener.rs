//! Bind, accept, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

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

    /// The address that was really bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves one listener until it is told to stop.
pub struct Server {
    answerer: Answerer,
    connections: Arc<Semaphore>,
    gateway: Arc<Gateway>,
    counts: bool,
}

impl Server {
    /// Serves callers.
    pub fn api(gateway: Arc<Gateway>) -> Self {
        Self::new(Answerer::Api(Arc::clone(&gateway)), gateway, true)
    }

    /// Serves operators.
    pub fn operations(gateway: Arc<Gateway>, readiness: Arc<Readiness>) -> Self {
        Self::new(
            Answerer::Operations(Arc::clone(&gateway), readiness),
            gateway,
            false,
        )
    }

    fn new(answerer: Answerer, gateway: Arc<Gateway>, counts: bool) -> Self {
        Self {
            answerer,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            gateway,
            counts,
        }
    }

    /// Accepts until `stop` turns true, then lets running requests finish for at most `drain`. Says whether all did.
    pub async fn run(
        self,
        listener: Listener,
        mut stop: watch::Receiver<bool>,
        drain: Duration,
    ) -> bool {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener) => accepted,
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
            let gateway = Arc::clone(&self.gateway);
            let counts = self.counts;
            tokio::spawn(async move {
                let _permit = permit;
                let _counted = counts.then(|| Counted::new(gateway));
                connection(stream, peer, answerer, watcher).await;
            });
        }
        drop(listener);
        tokio::time::timeout(drain, graceful.shutdown())
            .await
            .is_ok()
    }

    async fn accept(
        &self,
        listener: &Listener,
    ) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.connections)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, peer) = listener.0.accept().await?;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
        Ok((stream, peer, permit))
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    answerer: Answerer,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // hyper sets no time for the first byte (hyperium/hyper#3756), so wait for it here.
    if !matches!(
        tokio::time::timeout(IDLE_TIMEOUT, stream.readable()).await,
        Ok(Ok(()))
    ) {
        return;
    }
    let peer = Peer(peer.ip());
    let service = service_fn(move |request| serve(answerer.clone(), peer, request));
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
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended early");
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
