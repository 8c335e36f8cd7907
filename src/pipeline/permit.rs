//! What each step hands to the next. Each is made only by the step before it, so a connector cannot be called without
//! a permit.

use std::sync::Arc;

use http::Method;

use crate::auth::application::Application;
use crate::auth::identify::{presented_key, unauthenticated};
use crate::clock::Clock;
use crate::connector::access::{Access, Grant};
use crate::connector::operation::{self, Component, Operation, PathParameters};
use crate::error::{Error, ErrorKind, Result, brief};
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
/// Errors: 401, with one text for missing, unknown, inactive, expired and not yet valid keys; 400 for keys that
/// contradict each other.
pub fn identify(
    snapshot: &Snapshot,
    head: &RequestHead,
    query: &Query,
    clock: &dyn Clock,
) -> Result<Caller> {
    let presented = presented_key(&head.headers, query)?;
    let reject = |reason: &'static str| Err(unauthenticated().with_fact("reason", reason));
    let Some(application) = snapshot.applications.find(presented.key) else {
        return reject("the key is unknown");
    };
    if presented.in_query && !application.key.allow_query {
        return reject("the key may not stand in the query string");
    }
    if !application.key.is_usable(|| clock.now()) {
        return reject("the key is inactive, expired or not valid yet");
    }
    Ok(Caller {
        application: Arc::clone(application),
    })
}

/// That a caller may make a call.
pub struct Permit {
    service: Arc<Service>,
    operation: usize,
    parameters: PathParameters,
    component: Component,
    grant: Grant,
    access: Access,
}

impl Permit {
    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The operation.
    pub fn operation(&self) -> Result<&Operation> {
        self.service
            .config
            .operations()
            .get(self.operation)
            .ok_or_else(|| Error::internal("the operation is not in its table"))
    }

    /// The row of the role that decided.
    pub fn rule(&self) -> &Arc<str> {
        &self.grant.position
    }

    /// Takes the permit apart for its one use.
    pub fn into_parts(self) -> (Arc<Service>, PathParameters, Component, Grant, Access) {
        (
            self.service,
            self.parameters,
            self.component,
            self.grant,
            self.access,
        )
    }
}

/// 404 for a service that is not there, for those whose role admits its name.
pub(super) fn unknown_service(name: &str) -> Error {
    Error::new(
        ErrorKind::UnknownService,
        format!("could not find a service for {}", brief(name)),
    )
}

/// Caller, service name and component → permit.
///
/// The name of the service is judged before its existence: whoever has no row that could match gets 403 whether or not
/// it exists. Errors: 403; then 404 for a service, an operation or a path that is not there, and 405 with `Allow`.
pub fn authorize(
    snapshot: &Snapshot,
    caller: &Caller,
    service: &str,
    component: Component,
    method: &Method,
) -> Result<Permit> {
    let found = snapshot.service(service);
    let access = match found {
        Some(found) => caller.application.access(&found.name)?,
        None => caller.application.access_by_name(service)?,
    };
    let granted = access.of_path(component.as_str(), method);
    let Some(found) = found else {
        granted?;
        return Err(unknown_service(service));
    };
    let grant = match granted {
        Ok(grant) => grant,
        // A method that nothing here takes is 405 for those who may use the resource at all.
        Err(refusal) => {
            let may_use = !access.verbs(component.as_str()).is_empty();
            return Err(if may_use {
                operation::find(found.config.operations(), service, method, &component)
                    .err()
                    .unwrap_or(refusal)
            } else {
                refusal
            });
        }
    };
    if !found.is_active {
        return Err(Error::new(
            ErrorKind::ServiceDeactivated,
            format!("service {service} is deactivated"),
        ));
    }
    let operations = found.config.operations();
    let (operation, parameters) = operation::find(operations, service, method, &component)?;
    let operation = operations
        .iter()
        .position(|candidate| std::ptr::eq(candidate, operation))
        .ok_or_else(|| Error::internal("the operation is not in its table"))?;
    Ok(Permit {
        service: Arc::clone(found),
        operation,
        parameters,
        component,
        grant,
        access,
    })
}
