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
    /// The rules that concern each service that a row names, those for `"*"` included.
    pub rules: BTreeMap<ServiceName, Rules>,
    /// The rules that concern every other service: those of the rows for `"*"`.
    pub other_rules: Rules,
}

/// What a key stands for on one revision.
#[derive(Clone, Debug)]
pub struct Application {
    /// The key.
    pub key: Key,
    role: Option<Arc<RoleRules>>,
    lookups: Arc<Lookups>,
}

impl Application {
    /// A key, its role and the values that the role's filters may use.
    pub fn new(key: Key, role: Option<Arc<RoleRules>>, lookups: &Arc<Lookups>) -> Self {
        Self {
            key,
            role,
            lookups: Arc::clone(lookups),
        }
    }

    /// The role's name, for logs.
    pub fn role_name(&self) -> Option<&str> {
        self.role.as_ref().map(|role| role.name.as_str())
    }

    /// What the application may touch in a service that there is. 403 for a key without a role and for an inactive role.
    pub fn access(&self, service: &ServiceName) -> Result<Access, Refusal> {
        self.access_with(service.as_str(), || service.into())
    }

    /// Whether the application may do anything in a service that there is.
    pub fn may_see(&self, service: &ServiceName) -> bool {
        let role = self.role.as_ref().filter(|role| role.is_active);
        role.is_some_and(|role| {
            let rules = role.rules.get(service).unwrap_or(&role.other_rules);
            rules.grant_anything()
        })
    }

    /// What the application may touch in a service of this name, which need not exist. 403 as for
    /// [`Application::access`].
    pub fn access_by_name(&self, service: &str) -> Result<Access, Refusal> {
        self.access_with(service, || service.into())
    }

    /// Copies nothing where the service has a name to share.
    fn access_with(
        &self,
        service: &str,
        shared: impl FnOnce() -> Arc<str>,
    ) -> Result<Access, Refusal> {
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
        let (service, rules) = match role.rules.get_key_value(service) {
            Some((name, rules)) => (name.into(), rules),
            None => (shared(), &role.other_rules),
        };
        Ok(Access::new(
            &role.name,
            service,
            rules.clone(),
            Arc::clone(&self.lookups),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::access::{Pattern, Rule, Verbs};

    #[test]
    fn access_to_a_service_shares_its_name_and_its_rules() {
        let row = |names_service| Rule {
            names_service,
            pattern: Pattern::Everything,
            verbs: Verbs::ALL,
            deny: false,
            filter: None,
            fields: None,
            position: Arc::from("roles.toml:1"),
        };
        let name = |text: &str| text.parse::<ServiceName>().unwrap();
        let role = RoleRules {
            name: "reader".parse().unwrap(),
            is_active: true,
            rules: BTreeMap::from([(name("named"), Rules::new([row(true), row(false)]))]),
            other_rules: Rules::new([row(false)]),
        };
        let key = Key {
            name: "demo".parse().unwrap(),
            is_active: true,
            role: Some(role.name.clone()),
            not_before: None,
            expires: None,
            allow_query: false,
        };
        let application = Application::new(key, Some(Arc::new(role)), &Arc::default());
        for service in [name("named"), name("other")] {
            let access = application.access(&service).unwrap();
            assert_eq!(access.service(), service.as_str());
            let again = application.access_by_name(service.as_str()).unwrap();
            assert_eq!(access.identity(), again.identity());
        }
        let other = name("other");
        assert!(application.may_see(&other));
        let access = application.access(&other).unwrap();
        assert!(std::ptr::eq(access.service(), other.as_str()), "no copy");
    }
}
