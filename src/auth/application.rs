//! One application on one revision: its key, and what its role lets it touch in each service. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::Key;
use super::reason::{Reason, Refusal};
use crate::connector::access::{Access, Lookups, Rules};
use crate::error::{Error, ErrorKind};
use crate::names::{RoleName, ServiceName};

/// The rules of a role for calls from outside, sorted by service.
#[derive(Clone, Debug)]
pub struct RoleRules {
    /// Its name.
    pub name: RoleName,
    /// Whether it admits anything.
    pub is_active: bool,
    /// The rules that concern each service, those for `"*"` included.
    pub rules: BTreeMap<ServiceName, Rules>,
    /// The rules that concern services that no row names.
    pub other_rules: Rules,
}

/// What a key stands for on one revision.
#[derive(Clone, Debug)]
pub struct Application {
    /// The key.
    pub key: Key,
    role: Option<Arc<RoleRules>>,
    access: BTreeMap<ServiceName, Access>,
    other_access: Access,
}

impl Application {
    /// A key, its role and the values that the role's filters may use.
    pub fn new(key: Key, role: Option<Arc<RoleRules>>, lookups: &Arc<Lookups>) -> Self {
        let (access, other_access) = match &role {
            None => (BTreeMap::new(), Access::default()),
            Some(role) => {
                let of = |service: &str, rules: &Rules| {
                    Access::new(
                        role.name.as_str(),
                        service,
                        rules.clone(),
                        Arc::clone(lookups),
                    )
                };
                (
                    role.rules
                        .iter()
                        .map(|(service, rules)| (service.clone(), of(service.as_str(), rules)))
                        .collect(),
                    of("", &role.other_rules),
                )
            }
        };
        Self {
            key,
            role,
            access,
            other_access,
        }
    }

    /// The role's name, for logs.
    pub fn role_name(&self) -> Option<&str> {
        self.role.as_ref().map(|role| role.name.as_str())
    }

    /// What the application may touch in a service, which need not exist. 403 for a key without a role and for an
    /// inactive role.
    pub fn access(&self, service: &str) -> Result<Access, Refusal> {
        let Some(role) = &self.role else {
            let error = Error::new(
                ErrorKind::Forbidden,
                "this key has no role, so it may do nothing",
            );
            return Err(Refusal::new(
                Reason::NoRole,
                error.with_help("give the key a `role` in its manifest"),
            ));
        };
        if !role.is_active {
            let error = Error::new(ErrorKind::Forbidden, "the role of this key is not active");
            return Err(Refusal::new(
                Reason::InactiveRole,
                error.with_fact("role", role.name.as_str()),
            ));
        }
        Ok(match self.access.get(service) {
            Some(access) => access.clone(),
            None => self.other_access.for_service(service),
        })
    }
}
