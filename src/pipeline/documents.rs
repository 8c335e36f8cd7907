//! What the gateway itself answers: the list of services, OpenAPI documents, the documentation page, OPTIONS. Whether it
//! may was decided before.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

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
    let mut rows = Vec::new();
    for service in snapshot
        .services
        .values()
        .filter(|service| service.is_active)
    {
        if may_see(caller, service) && wanted(service.kind.family.name(), service.kind.name) {
            let mut row = Map::new();
            row.insert("name".to_owned(), json!(service.name.as_str()));
            row.insert("label".to_owned(), json!(service.label));
            row.insert("description".to_owned(), json!(service.description));
            row.insert("type".to_owned(), json!(service.kind.name));
            if let Some(fields) = query
                .get("fields")
                .filter(|fields| !fields.is_empty() && *fields != "*")
            {
                row.retain(|name, _| fields.split(',').any(|wanted| wanted.trim() == name));
            }
            row.insert(
                "spec_url".to_owned(),
                json!(format!("/api/v2/api_docs/{}", service.name)),
            );
            rows.push(Value::Object(row));
        }
    }
    let types: Vec<Value> = service_types()
        .filter(|kind| wanted(kind.family.name(), kind.name))
        .map(|kind| {
            json!({
                "name": kind.name,
                "label": kind.label,
                "group": kind.family.name(),
                "description": kind.description,
            })
        })
        .collect();
    Reply::document(format, &json!({ "services": rows, "service_types": types }))
}

fn may_see(caller: &Caller, service: &Service) -> bool {
    caller
        .application()
        .access(&service.name)
        .is_ok_and(|access| !access.is_empty())
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
    let services: Vec<&Arc<Service>> = match service {
        None => snapshot
            .services
            .values()
            .filter(|service| service.is_active && may_see(caller, service))
            .collect(),
        Some(name) => snapshot.service(name).into_iter().collect(),
    };
    let remaining = deadline.saturating_duration_since(clock.instant()) / 2;
    let described =
        futures_util::future::join_all(services.into_iter().map(|service| async move {
            let description =
                match tokio::time::timeout(remaining, service.connector.describe()).await {
                    Ok(Ok(description)) => description,
                    Ok(Err(_)) | Err(_) => Description::General,
                };
            (service, description)
        }))
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
    described: &[(&Arc<Service>, Description)],
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
