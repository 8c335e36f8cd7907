//! Manifests → the parts of a snapshot. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Settings;
use super::plan::WantedService;
use crate::auth::application::{Application, RoleRules};
use crate::auth::key::{Key, KeyRing};
use crate::auth::role::{Requester, Role};
use crate::connector::access::Lookups;
use crate::connector::service_type;
use crate::manifest::key::Moment;
use crate::manifest::{Configs, Gateway, KeyTable, ManifestSet};
use crate::names::{KeyName, RoleName, ServiceName};

/// The services that the manifests want.
pub fn wanted(set: &ManifestSet, mut configs: Configs) -> BTreeMap<ServiceName, WantedService> {
    let mut wanted = BTreeMap::new();
    for (name, service) in &set.services {
        let service = &service.value;
        let found = configs
            .services
            .remove(name.as_str())
            .zip(service_type(service.service_type.name));
        if let Some((config, kind)) = found {
            wanted.insert(
                name.clone(),
                WantedService {
                    kind,
                    label: service.label.clone().unwrap_or_else(|| name.to_string()),
                    description: service.description.clone().unwrap_or_default(),
                    is_active: service.active,
                    config,
                },
            );
        }
    }
    wanted
}

/// The applications, by key: for each its role's rules in every service, and the values that filters may use.
pub fn applications(set: &ManifestSet) -> KeyRing<Application> {
    let roles: BTreeMap<&RoleName, Arc<RoleRules>> = set
        .roles
        .iter()
        .map(|(name, role)| (name, Arc::new(role_rules(&role.value))))
        .collect();
    KeyRing::new(set.keys.iter().flat_map(|(name, table)| {
        let role = table
            .value
            .role
            .as_ref()
            .and_then(|role| roles.get(role))
            .map(Arc::clone);
        let application = Arc::new(assembled(set, name, &table.value, role));
        table
            .value
            .sha256
            .iter()
            .map(move |digest| (*digest, Arc::clone(&application)))
    }))
}

/// One application, by the name of its key in the manifests.
pub fn application(set: &ManifestSet, name: &str) -> Option<Application> {
    let (name, table) = set.keys.get_key_value(name)?;
    let role = table
        .value
        .role
        .as_ref()
        .and_then(|role| set.roles.get(role));
    let role = role.map(|role| Arc::new(role_rules(&role.value)));
    Some(assembled(set, name, &table.value, role))
}

fn assembled(
    set: &ManifestSet,
    name: &KeyName,
    table: &KeyTable,
    role: Option<Arc<RoleRules>>,
) -> Application {
    let key = Key {
        name: name.clone(),
        is_active: table.active,
        role: table.role.clone(),
        not_before: table.not_before.map(Moment::utc),
        expires: table.expires.map(Moment::utc),
        allow_query: table.allow_query,
    };
    let mut lookups: BTreeMap<String, String> = set
        .lookups
        .iter()
        .map(|(name, value)| (format!("lookup.{name}"), value.value.clone()))
        .collect();
    // A key's own values go before those of the whole tree.
    lookups.extend(
        table
            .lookup
            .iter()
            .map(|(name, value)| (format!("lookup.{name}"), value.clone())),
    );
    lookups.insert("key.name".to_owned(), name.to_string());
    lookups.insert("app.name".to_owned(), name.to_string());
    if let Some(role) = &table.role {
        lookups.insert("role.name".to_owned(), role.to_string());
    }
    Application::new(key, role, &Arc::new(Lookups::new(lookups)))
}

fn role_rules(role: &Role) -> RoleRules {
    let (named, others) = role.rules_by_service(Requester::Api);
    RoleRules {
        name: role.name.clone(),
        is_active: role.active,
        rules: named
            .into_iter()
            .map(|(service, rules)| (service, rules.into()))
            .collect(),
        other_rules: others.into(),
    }
}

/// The settings of the gateway.
pub fn settings(gateway: &Gateway) -> Settings {
    Settings {
        max_body_bytes: gateway.max_body_bytes(),
        max_uri_bytes: gateway.max_uri_bytes(),
        request_timeout: gateway.request_timeout(),
        max_in_flight: gateway.max_in_flight(),
        stream_drain: gateway.stream_drain(),
        trusted_proxies: gateway.trusted_proxies.clone(),
    }
}
