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
use crate::manifest::{Configs, Gateway, KeyTable, Located, ManifestSet};
use crate::names::{KeyName, RoleName, ServiceName};

/// The services that the manifests want, in the order of their names.
pub fn wanted(set: &ManifestSet, configs: Configs) -> Vec<(ServiceName, WantedService)> {
    // The configs of a set have its names, in the same order.
    let wanted = set.services.iter().zip(configs.services);
    wanted
        .filter(|((name, _), (of, _))| *name == of)
        .filter_map(|((name, declared), (_, config))| {
            let wanted = WantedService {
                kind: service_type(declared.value.service_type.name)?,
                declared: Arc::clone(declared),
                config,
            };
            Some((name.clone(), wanted))
        })
        .collect()
}

/// The applications of the last tree. What did not change stays the same value in the next one: plans of requests are
/// kept by the rules and values that they were planned for.
#[derive(Default)]
pub struct Assembly {
    roles: BTreeMap<RoleName, (Arc<Located<Role>>, Arc<RoleRules>)>,
    keys: BTreeMap<KeyName, Assembled>,
    /// The values for filters that every application has.
    lookups: BTreeMap<String, String>,
}

struct Assembled {
    table: Arc<Located<KeyTable>>,
    role: Option<Arc<RoleRules>>,
    application: Arc<Application>,
}

impl Assembly {
    /// The applications, by key: for each its role's rules in every service, and the values that filters may use.
    pub fn applications(&mut self, set: &ManifestSet) -> KeyRing<Application> {
        let roles: BTreeMap<RoleName, (Arc<Located<Role>>, Arc<RoleRules>)> = set
            .roles
            .iter()
            .map(|(name, role)| {
                let known = self.roles.get(name);
                let rules = match known.filter(|(known, _)| Arc::ptr_eq(known, role)) {
                    Some((_, rules)) => Arc::clone(rules),
                    None => Arc::new(role_rules(&role.value)),
                };
                (name.clone(), (Arc::clone(role), rules))
            })
            .collect();
        let lookups: BTreeMap<String, String> = set
            .lookups
            .iter()
            .map(|(name, value)| (name.clone(), value.value.clone()))
            .collect();
        let mut known = std::mem::take(&mut self.keys);
        if self.lookups != lookups {
            known.clear();
        }
        for (name, table) in &set.keys {
            let role = table.value.role.as_ref();
            let role = role.and_then(|role| roles.get(role));
            let role = role.map(|(_, rules)| Arc::clone(rules));
            let same_role = |known: &Option<Arc<RoleRules>>| match (known, &role) {
                (Some(known), Some(role)) => Arc::ptr_eq(known, role),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let known = known
                .remove(name.as_str())
                .filter(|known| Arc::ptr_eq(&known.table, table) && same_role(&known.role));
            let assembled = known.unwrap_or_else(|| Assembled {
                table: Arc::clone(table),
                role: role.as_ref().map(Arc::clone),
                application: Arc::new(assembled(set, name, &table.value, role)),
            });
            self.keys.insert(name.clone(), assembled);
        }
        self.roles = roles;
        self.lookups = lookups;
        KeyRing::new(self.keys.values().flat_map(|key| {
            let digests = key.table.value.sha256.iter();
            digests.map(|digest| (*digest, Arc::clone(&key.application)))
        }))
    }
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
