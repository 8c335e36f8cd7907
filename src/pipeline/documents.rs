//! What the gateway itself answers: the list of services, OpenAPI documents, the documentation page, OPTIONS. Whether it
//! may was decided before.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::permit::Caller;
use crate::auth::authorize::{OptionsAdmission, READS};
use crate::auth::route::Target;
use crate::clock::Clock;
use crate::connector::{Description, service_types};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::compress::without_coding;
use crate::exchange::format::negotiate;
use crate::exchange::{Body, Format, Query, Reply, RequestHead};
use crate::openapi;
use crate::openapi::page;
use crate::snapshot::{Service, Snapshot};

/// Most services that one document describes: it is read as a whole, and it asks each of their backends.
const MAX_DESCRIBED: usize = 100;
/// Most backends that are asked for their tables at the same time, for one document.
const MAX_ASKED: usize = 16;

/// The services that the caller may see, and every service type.
pub fn services(
    snapshot: &Snapshot,
    caller: &Caller,
    head: &RequestHead,
    query: &Query,
) -> Result<Reply> {
    let format = negotiate(head, query, &[Format::Json, Format::Xml])?;
    let groups = query.get("group").map(str::to_ascii_lowercase);
    let wanted = |group: &str, name: &str| match (&groups, query.get("type")) {
        (Some(groups), _) => groups
            .split(',')
            .any(|wanted| wanted.trim().eq_ignore_ascii_case(group)),
        (None, Some(kind)) => kind == name,
        (None, None) => true,
    };
    let fields = query
        .get("fields")
        .filter(|fields| !fields.is_empty() && *fields != "*");
    let has = |field: &str| {
        fields.is_none_or(|fields| fields.split(',').any(|wanted| wanted.trim() == field))
    };
    let [name, label, description, kind] = ["name", "label", "description", "type"].map(has);
    let rows = visible(snapshot, caller)
        .filter(|service| wanted(service.kind.family.name(), service.kind.name))
        .map(|service| ServiceRow {
            name: name.then_some(service.name.as_str()),
            label: label.then_some(&service.label),
            description: description.then_some(&service.description),
            kind: kind.then_some(service.kind.name),
            spec_url: format!("/api/v2/api_docs/{}", service.name),
        });
    let types = service_types().filter(|kind| wanted(kind.family.name(), kind.name));
    let types = types.map(|kind| {
        json!({
            "name": kind.name,
            "label": kind.label,
            "group": kind.family.name(),
            "description": kind.description,
        })
    });
    let list = ServiceList {
        services: rows.collect(),
        service_types: types.collect(),
    };
    Reply::document(format, &list)
}

#[derive(Serialize)]
struct ServiceList<'a> {
    services: Vec<ServiceRow<'a>>,
    service_types: Vec<Value>,
}

/// One service in the list; what was not asked for is left out.
#[derive(Serialize)]
struct ServiceRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'a str>,
    spec_url: String,
}

/// The active services in which the caller may do anything.
fn visible<'a>(
    snapshot: &'a Snapshot,
    caller: &'a Caller,
) -> impl Iterator<Item = &'a Arc<Service>> {
    let services = snapshot.services.values();
    services.filter(|service| service.is_active && caller.application().may_see(&service.name))
}

/// The OpenAPI document of one service or of all: only what the caller may do. A backend that does not answer leaves
/// its general operations in the document.
pub async fn api_docs(
    snapshot: &Arc<Snapshot>,
    caller: &Caller,
    head: &RequestHead,
    query: &Query,
    service: Option<&str>,
    deadline: Instant,
    clock: &Arc<dyn Clock>,
) -> Result<Reply> {
    let format = negotiate(head, query, &[Format::Json])?;
    let services: Vec<Arc<Service>> = match service {
        None => visible(snapshot, caller).map(Arc::clone).collect(),
        Some(name) => snapshot.service(name).into_iter().map(Arc::clone).collect(),
    };
    if services.len() > MAX_DESCRIBED {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "this key may use {} services, and one document describes {MAX_DESCRIBED} at most",
                services.len()
            ),
        )
        .with_help("ask for the document of one service: /api/v2/api_docs/{service}"));
    }
    let now = clock.instant();
    let patience = now + deadline.saturating_duration_since(now) / 2;
    let described: Vec<(Arc<Service>, Description)> = stream::iter(services)
        .map(|service| async move {
            let described = service.connector.describe();
            let description = match tokio::time::timeout_at(patience.into(), described).await {
                Ok(Ok(description)) => description,
                Ok(Err(_)) | Err(_) => Description::General,
            };
            (service, description)
        })
        .buffered(MAX_ASKED)
        .collect()
        .await;
    let role = caller
        .application()
        .role_name()
        .unwrap_or_default()
        .to_owned();
    let key = (role, service.map(str::to_owned));
    let details: Vec<&Description> = described
        .iter()
        .map(|(_, description)| description)
        .collect();
    let body = if let Some(body) = snapshot.documents.get(&key, &details) {
        body
    } else {
        let body = written(&described, caller, service.is_some(), snapshot)?;
        let kept = described
            .iter()
            .map(|(_, description)| description.clone())
            .collect();
        snapshot.documents.keep(key, kept, body.clone());
        body
    };
    Ok(Reply::ok(format.content_type(), Body::Bytes(body)))
}

fn written(
    described: &[(Arc<Service>, Description)],
    caller: &Caller,
    is_single: bool,
    snapshot: &Snapshot,
) -> Result<Bytes> {
    let mut descriptions = Vec::with_capacity(described.len());
    for (service, description) in described {
        descriptions.push(openapi::ServiceDescription {
            name: service.name.as_str(),
            label: &service.label,
            description: &service.description,
            operations: service.config.operations(),
            details: description,
            access: caller.application().access(&service.name)?,
        });
    }
    let document = openapi::document(&descriptions, is_single, &snapshot.revision.to_string());
    Format::Json.write_document(&document)
}

/// The answer to OPTIONS: `Allow`.
pub fn options(admission: OptionsAdmission) -> Result<Reply> {
    let allow = HeaderValue::try_from(admission.into_allow()).map_err(|error| {
        Error::internal("an Allow header is not visible text").with_source(error)
    })?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_header(ALLOW, allow))
}

/// The documentation page and its assets. They hold nothing secret and need no key.
pub fn page(target: &Target, head: &RequestHead) -> Result<Reply> {
    if head.method == Method::OPTIONS {
        return Ok(Reply::empty(StatusCode::NO_CONTENT)
            .with_header(ALLOW, HeaderValue::from_static(READS)));
    }
    let Target::Docs(path) = target else {
        return Ok(redirect("/docs/"));
    };
    if path.is_empty() && !head.uri.path().ends_with('/') {
        return Ok(redirect("/docs/"));
    }
    let asset = page::asset(path).ok_or_else(|| {
        Error::new(ErrorKind::UnknownResource, "there is no such page")
            .with_help("the documentation begins at /docs/")
    })?;
    let is_known = knows(&head.headers, &asset.etag);
    let etag = HeaderValue::try_from(asset.etag)
        .map_err(|error| Error::internal("an entity tag is not visible text").with_source(error))?;
    if is_known {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).with_header(ETAG, etag));
    }
    Ok(Reply::ok(
        HeaderValue::from_static(asset.content_type),
        Body::Bytes(asset.bytes),
    )
    .with_header(ETAG, etag)
    .with_header(CACHE_CONTROL, HeaderValue::from_static("public, no-cache"))
    .with_header(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::CONTENT_SECURITY_POLICY),
    ))
}

/// Whether `If-None-Match` lists a tag (RFC 9110 section 13.1.2).
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let wanted = etag.trim_matches('"');
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|sent| {
            let sent = sent.strip_prefix("W/").unwrap_or(sent);
            sent == "*" || without_coding(sent.trim_matches('"')) == wanted
        })
}

fn redirect(to: &'static str) -> Reply {
    Reply::empty(StatusCode::FOUND).with_header(LOCATION, HeaderValue::from_static(to))
}
