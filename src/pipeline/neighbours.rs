//! The way from one service to another, within one request: on its snapshot, with the rights of its caller.

use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

use crate::auth::application::Application;
use crate::auth::authorize;
use crate::connector::{Neighbour, Neighbours};
use crate::error::Result;
use crate::exchange::Body;
use crate::names::ServiceName;
use crate::snapshot::{Service, Snapshot};

/// The services of a snapshot, for one caller.
pub struct SnapshotNeighbours {
    snapshot: Arc<Snapshot>,
    application: Arc<Application>,
    /// The services that were found.
    found: Mutex<Vec<Arc<Service>>>,
}

impl SnapshotNeighbours {
    /// The services of a snapshot, for the caller with this application.
    pub fn new(snapshot: &Arc<Snapshot>, application: &Arc<Application>) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            application: Arc::clone(application),
            found: Mutex::default(),
        }
    }

    /// An answer in pieces goes on as long as the leases of all services that it reads from.
    pub(super) fn leased(&self, body: Body) -> Body {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match body {
            Body::Stream(stream) => Body::Stream(
                found
                    .iter()
                    .fold(stream, |stream, service| service.lease.bind(stream)),
            ),
            whole => whole,
        }
    }
}

impl Neighbours for SnapshotNeighbours {
    fn find(&self, name: &ServiceName) -> Result<Neighbour> {
        let access = self
            .application
            .access(name)
            .map_err(|refusal| refusal.error)?;
        if access.is_empty() {
            return Err(access.refusal(None, "", &Method::GET));
        }
        let service = self.snapshot.service(name.as_str());
        authorize::serves(service.map(|service| service.facts()), name.as_str())
            .map_err(|refusal| refusal.error)?;
        let service = service.ok_or_else(|| {
            crate::error::Error::internal("a service that is served is not there")
        })?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.iter().any(|known| Arc::ptr_eq(known, service)) {
            found.push(Arc::clone(service));
        }
        Ok(Neighbour {
            connector: Arc::clone(&service.connector),
            access,
        })
    }
}
