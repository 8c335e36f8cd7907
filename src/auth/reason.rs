//! Why a call is allowed or denied: one closed list of words for the log, `tidegate explain` and access tests. Pure.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $allowed:literal;)*) => {
        /// Why a call is allowed or denied. Names are stable and are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in logs and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether the call is allowed.
            pub const fn is_allowed(self) -> bool {
                match self { $(Self::$variant => $allowed,)* }
            }
        }
    };
}

reasons! {
    /// A row of the role grants the verb.
    Granted = "granted", true;
    /// The role may do something in the service, which is enough for OPTIONS and for its documentation.
    SomeAccess = "some_access", true;
    /// Every accepted key may ask; the answer holds what its role may see.
    AnyKey = "any_key", true;
    /// A page that needs no key.
    Public = "public", true;
    /// No key was sent.
    NoKey = "no_key", false;
    /// Two headers carry different keys.
    ConflictingKeys = "conflicting_keys", false;
    /// A session token or a password was sent, which no manifest can accept.
    OtherCredentials = "other_credentials", false;
    /// The key is in no manifest.
    UnknownKey = "unknown_key", false;
    /// The key stood in the query string, and its manifest does not say `allow_query`.
    KeyInQuery = "key_in_query", false;
    /// The key is not active.
    InactiveKey = "inactive_key", false;
    /// The key is refused before its `not_before`.
    KeyNotYetValid = "key_not_yet_valid", false;
    /// The key is refused from its `expires` on.
    ExpiredKey = "expired_key", false;
    /// The key has no role.
    NoRole = "no_role", false;
    /// The role is not active.
    InactiveRole = "inactive_role", false;
    /// A row with `deny = true` decided.
    DeniedByRow = "denied_by_row", false;
    /// The most specific rows do not list the verb.
    VerbNotGranted = "verb_not_granted", false;
    /// No row of the role covers the component.
    NoRow = "no_row", false;
    /// The role may do nothing in the service.
    NoAccess = "no_access", false;
    /// The role admits the call, but the service is not active.
    ServiceDeactivated = "service_deactivated", false;
    /// The role admits the call, but there is no such service.
    UnknownService = "unknown_service", false;
    /// The role admits the call, but there is no such resource.
    UnknownResource = "unknown_resource", false;
    /// The role may use the resource, but it does not take the method.
    MethodNotAllowed = "method_not_allowed", false;
    /// The path was allowed; something else that the call touched was not.
    RefusedInside = "refused_inside", false;
}

impl Reason {
    /// The word for [`Reason::is_allowed`]: `allowed` or `denied`.
    pub const fn decision(self) -> &'static str {
        if self.is_allowed() {
            "allowed"
        } else {
            "denied"
        }
    }
}

/// That a call is denied: why, and what the caller is told.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The row that decided, if it was a row: its very `Rule::position`.
    pub rule: Option<Arc<str>>,
    /// What the caller is told.
    pub error: Error,
}

impl Refusal {
    /// A refusal that no row decided.
    pub fn new(reason: Reason, error: Error) -> Self {
        Self {
            reason,
            rule: None,
            error,
        }
    }

    /// What an operation that cannot be found comes to.
    pub(super) fn by_routing(error: Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::MethodNotAllowed => Reason::MethodNotAllowed,
            _ => Reason::UnknownResource,
        };
        Self::new(reason, error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_of_reasons_are_unique() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
