//! What each step hands to the next. Each is made only by the step before it, so a connector cannot be called without
//! a permit. What is decided, `auth` decides.

use std::sync::Arc;

use http::Method;

use crate::auth::application::Application;
use crate::auth::authorize::{self, Admission, CallAdmission};
use crate::auth::identify::{presented_key, rejected};
use crate::auth::reason::{Reason, Refusal};
use crate::auth::route::Target;
use crate::clock::Clock;
use crate::connector::access::{Access, Grant};
use crate::connector::operation::{Component, Effect, PathParameters};
use crate::error::{Error, Result};
use crate::exchange::{Query, RequestHead};
use crate::snapshot::{Service, Snapshot};

/// Who is asking.
#[derive(Clone, Debug)]
pub struct Caller {
    application: Arc<Application>,
}

impl Caller {
    /// The application whose key the request carries.
    pub fn application(&self) -> &Arc<Application> {
        &self.application
    }
}

/// Credentials → caller.
///
/// Refused with 401, with one text for missing, unknown, inactive, expired and not yet valid keys; with 400 for keys
/// that contradict each other.
pub fn identify(
    snapshot: &Snapshot,
    head: &RequestHead,
    query: &Query,
    clock: &dyn Clock,
) -> Result<Caller, Refusal> {
    let presented = presented_key(&head.headers, query)?;
    let Some(application) = snapshot.applications.find(presented.key) else {
        return Err(rejected(Reason::UnknownKey));
    };
    if presented.in_query && !application.key.allow_query {
        return Err(rejected(Reason::KeyInQuery));
    }
    application.key.check(|| clock.now()).map_err(rejected)?;
    Ok(Caller {
        application: Arc::clone(application),
    })
}

/// Caller, target and method → whether the caller may. See [`authorize::authorize`].
pub fn authorize(
    snapshot: &Snapshot,
    caller: &Caller,
    target: Target,
    method: &Method,
) -> Result<Admission, Refusal> {
    authorize::authorize(caller.application(), target, method, |name| {
        snapshot.service(name).map(|service| service.facts())
    })
}

/// That a caller may make a call: an admission, and the service that it is for.
pub struct Permit {
    service: Arc<Service>,
    admission: CallAdmission,
}

impl Permit {
    /// The permit of an admission. `service` is the one that was asked for.
    pub fn new(service: Option<&Arc<Service>>, admission: CallAdmission) -> Result<Self> {
        match service {
            Some(service) if service.name.as_str() == admission.service() => Ok(Self {
                service: Arc::clone(service),
                admission,
            }),
            _ => Err(Error::internal("an admission is for another service")),
        }
    }

    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The name of the operation.
    pub fn operation(&self) -> &'static str {
        self.admission.operation()
    }

    /// What a hang-up of the client means for it.
    pub fn effect(&self) -> Effect {
        self.admission.effect()
    }

    /// Takes the permit apart for its one use.
    pub fn into_parts(self) -> (Arc<Service>, PathParameters, Component, Grant, Access) {
        let (parameters, component, grant, access) = self.admission.into_parts();
        (self.service, parameters, component, grant, access)
    }
}
