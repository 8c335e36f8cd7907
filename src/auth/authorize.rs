//! May this application make this call? The one place that decides: requests, access tests, `tidegate explain` and the
//! audit line all hear the same answer, with the same reasons. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::application::Application;
use super::reason::{Reason, Refusal};
use super::route::Target;
use crate::connector::access::{Access, Decision, Grant, Verbs};
use crate::connector::operation::{
    Component, Effect, Operation, PathParameters, allowed_methods, find, judged,
};
use crate::error::{Error, ErrorKind, brief};
use crate::names::ServiceName;

/// What a decision needs to know of a service; no connector has to be open for it.
#[derive(Clone, Copy)]
pub struct ServiceFacts<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// Whether it is served.
    pub is_active: bool,
    /// Everything it can be asked.
    pub operations: &'a [Operation],
}

/// That a call is allowed. Made by [`authorize`] alone.
#[derive(Debug)]
pub enum Admission {
    /// A page that needs no key.
    Page,
    /// The list of services.
    Services,
    /// The documentation of one service, or of all.
    ApiDocs(Option<String>),
    /// OPTIONS.
    Options(OptionsAdmission),
    /// One operation of a service.
    Call(CallAdmission),
}

/// That a caller may ask what a path takes.
#[derive(Debug)]
pub struct OptionsAdmission {
    reason: Reason,
    allow: String,
}

impl OptionsAdmission {
    /// The value of `Allow`.
    pub fn into_allow(self) -> String {
        self.allow
    }
}

/// That one operation of a service may be called.
#[derive(Debug)]
pub struct CallAdmission {
    operation: &'static str,
    effect: Effect,
    parameters: PathParameters,
    component: Component,
    grant: Grant,
    access: Access,
}

impl CallAdmission {
    /// The name of the service.
    pub fn service(&self) -> &str {
        self.access.service()
    }

    /// The name of the operation, in the service's own table.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What a hang-up of the client means for it.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// What the deciding row admits.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Takes the admission apart for its one use.
    pub fn into_parts(self) -> (PathParameters, Component, Grant, Access) {
        (self.parameters, self.component, self.grant, self.access)
    }
}

impl Admission {
    /// Why it is allowed.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Page => Reason::Public,
            Self::Services | Self::ApiDocs(None) => Reason::AnyKey,
            Self::ApiDocs(Some(_)) => Reason::SomeAccess,
            Self::Options(options) => options.reason,
            Self::Call(_) => Reason::Granted,
        }
    }

    /// The row that decided, if it was a row: its very `Rule::position`.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Call(call) => Some(&call.grant.position),
            Self::Page | Self::Services | Self::ApiDocs(_) | Self::Options(_) => None,
        }
    }
}

/// Decides. `method` is the one that is meant, after tunnelling; `service` gives what is known of a service, and none
/// for one that is not there.
///
/// The name of a service is judged before its existence: whoever has no row that could match is refused alike whether or
/// not it exists. Refused with 403; then with 404 for a service, an operation or a path that is not there, and with 405
/// and `Allow`.
pub fn authorize<'a>(
    application: &Application,
    target: Target,
    method: &Method,
    service: impl FnOnce(&str) -> Option<ServiceFacts<'a>>,
) -> Result<Admission, Refusal> {
    if *method == Method::OPTIONS {
        return options(application, &target, service).map(Admission::Options);
    }
    match target {
        Target::Root | Target::Docs(_) => page(method).map(|()| Admission::Page),
        Target::Services => only_reads(method, "/api/v2").map(|()| Admission::Services),
        Target::ApiDocs(name) => {
            only_reads(method, "/api/v2/api_docs")?;
            if let Some(name) = &name {
                documentation(application, name, service(name))?;
            }
            Ok(Admission::ApiDocs(name))
        }
        Target::Service {
            service: name,
            component,
        } => {
            let facts = service(&name);
            call(application, &name, facts, component, method).map(Admission::Call)
        }
    }
}

/// Whether a page that needs no key takes the method.
pub fn page(method: &Method) -> Result<(), Refusal> {
    if *method == Method::OPTIONS {
        return Ok(());
    }
    only_reads(method, "/docs")
}

fn call(
    application: &Application,
    name: &str,
    facts: Option<ServiceFacts<'_>>,
    component: Component,
    method: &Method,
) -> Result<CallAdmission, Refusal> {
    let access = access(application, name, facts)?;
    let judged = match facts {
        Some(facts) => judged(facts.operations, &component),
        None => Cow::Borrowed(component.as_str()),
    };
    let refused = |reason, rule: Option<Arc<str>>| {
        // A method that nothing here takes is 405 for those who may use the resource at all.
        if let Some(facts) = facts
            && !access.verbs(&judged).is_empty()
            && let Err(error) = find(facts.operations, name, method, &component)
        {
            return Err(Refusal::by_routing(error));
        }
        let error = access.refusal(rule.as_ref(), &judged, method);
        Err(Refusal {
            reason,
            rule,
            error,
        })
    };
    let grant = match access.decide_path(&judged, Verbs::of(method)) {
        Decision::Granted(grant) => grant,
        Decision::Denied(rule) => return refused(Reason::DeniedByRow, Some(rule)),
        Decision::NotListed(rule) => return refused(Reason::VerbNotGranted, Some(rule)),
        Decision::NoRow => return refused(Reason::NoRow, None),
    };
    let facts = facts.ok_or_else(|| unknown_service(name))?;
    if !facts.is_active {
        return Err(deactivated(name));
    }
    let (operation, parameters) =
        find(facts.operations, name, method, &component).map_err(Refusal::by_routing)?;
    drop(judged);
    Ok(CallAdmission {
        operation: operation.name,
        effect: operation.effect,
        parameters,
        component,
        grant,
        access,
    })
}

/// What the application may touch in a service, which need not exist.
fn access(
    application: &Application,
    name: &str,
    facts: Option<ServiceFacts<'_>>,
) -> Result<Access, Refusal> {
    match facts {
        Some(facts) => application.access(facts.name),
        None => application.access_by_name(name),
    }
}

/// The documentation of a service is for those who may do something there.
fn documentation(
    application: &Application,
    name: &str,
    facts: Option<ServiceFacts<'_>>,
) -> Result<(), Refusal> {
    if access(application, name, facts)?.is_empty() {
        return Err(no_access(format!(
            "this role has no access to the documentation of service '{}'",
            brief(name)
        )));
    }
    serves(facts, name)
}

/// Whether a service can be called: 404 for one that is not there, 403 for one that is deactivated.
pub fn serves(facts: Option<ServiceFacts<'_>>, name: &str) -> Result<(), Refusal> {
    match facts {
        Some(facts) if facts.is_active => Ok(()),
        Some(_) => Err(deactivated(name)),
        None => Err(unknown_service(name)),
    }
}

/// What a path takes is told to those who may do something in its service.
fn options<'a>(
    application: &Application,
    target: &Target,
    service: impl FnOnce(&str) -> Option<ServiceFacts<'a>>,
) -> Result<OptionsAdmission, Refusal> {
    let (name, component) = match target {
        Target::Service { service, component } => (service, component),
        Target::Services | Target::ApiDocs(_) => {
            return Ok(OptionsAdmission {
                reason: Reason::AnyKey,
                allow: READS.to_owned(),
            });
        }
        Target::Docs(_) | Target::Root => {
            return Ok(OptionsAdmission {
                reason: Reason::Public,
                allow: READS.to_owned(),
            });
        }
    };
    let facts = service(name);
    if access(application, name, facts)?.is_empty() {
        return Err(no_access(format!(
            "this role has no access to service '{}'",
            brief(name)
        )));
    }
    let facts = facts.ok_or_else(|| unknown_service(name))?;
    match allowed_methods(facts.operations, component) {
        Some(allow) => Ok(OptionsAdmission {
            reason: Reason::SomeAccess,
            allow,
        }),
        None => Err(Refusal::by_routing(Error::new(
            ErrorKind::UnknownResource,
            format!(
                "resource '{}' not found for service '{name}'",
                brief(component.as_str())
            ),
        ))),
    }
}

/// What the gateway's own resources take.
pub const READS: &str = "GET, HEAD, OPTIONS";

fn only_reads(method: &Method, path: &str) -> Result<(), Refusal> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    Err(Refusal::by_routing(
        Error::new(
            ErrorKind::MethodNotAllowed,
            format!("{method} requests for {path} are not supported"),
        )
        .with_help("configuration changes by commits alone; this resource takes GET")
        .with_allow(READS),
    ))
}

fn no_access(message: String) -> Refusal {
    Refusal::new(Reason::NoAccess, Error::new(ErrorKind::Forbidden, message))
}

fn deactivated(name: &str) -> Refusal {
    Refusal::new(
        Reason::ServiceDeactivated,
        Error::new(
            ErrorKind::ServiceDeactivated,
            format!("service {name} is deactivated"),
        ),
    )
}

/// 404 for a service that is not there, for those whose role admits its name.
fn unknown_service(name: &str) -> Refusal {
    Refusal::new(
        Reason::UnknownService,
        Error::new(
            ErrorKind::UnknownService,
            format!("could not find a service for {}", brief(name)),
        ),
    )
}
