//! Listening sockets that systemd, or whoever starts the daemon, opened and handed over: a restart on the same sockets
//! drops no connection, because those that nobody has accepted yet wait in the kernel.

use std::net::TcpListener;

use listenfd::ListenFd;

/// The name of the API's socket in `FileDescriptorName=`.
const API: &str = "api";
/// The name of the operations listener's socket.
const OPERATIONS: &str = "ops";
/// What a socket is called that has no name.
const UNKNOWN: &str = "unknown";
/// The number of the first descriptor that is handed over.
const FIRST: usize = 3;

/// What was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The API's.
    pub api: Option<TcpListener>,
    /// The operations listener's.
    pub operations: Option<TcpListener>,
}

/// Which listener a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Api,
    Operations,
}

impl Inherited {
    /// Takes what the environment says (`LISTEN_FDS`, `LISTEN_FDNAMES`), and removes it from there. Must be called before
    /// there are threads.
    ///
    /// Sockets are told apart by their names, `api` and `ops`; without names the first is the API's and the second the
    /// operations listener's. Errors: names that are neither, a name twice, more than two, and what is no listening TCP
    /// socket.
    pub fn take() -> Result<Self, String> {
        let names = std::env::var_os("LISTEN_FDNAMES")
            .map(|names| names.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut handed_over = ListenFd::from_env();
        let mut inherited = Self::default();
        for (index, role) in roles(handed_over.len(), &names)?.into_iter().enumerate() {
            let number = FIRST + index;
            let listener = handed_over
                .take_tcp_listener(index)
                .map_err(|error| format!("the socket {number} that was handed over cannot be used: {error}; use ListenStream= with an address and a port"))?
                .filter(|listener| socket2::SockRef::from(listener).is_listener().unwrap_or(false))
                .ok_or_else(|| format!("the socket {number} that was handed over does not listen; leave Accept= out"))?;
            let place = match role {
                Role::Api => &mut inherited.api,
                Role::Operations => &mut inherited.operations,
            };
            *place = Some(listener);
        }
        Ok(inherited)
    }
}

/// Which socket is for which listener.
fn roles(count: usize, names: &str) -> Result<Vec<Role>, String> {
    let names: Vec<&str> = names.split(':').filter(|name| !name.is_empty()).collect();
    if count > 2 {
        return Err(format!(
            "{count} listening sockets were handed over; there are two listeners, `{API}` and `{OPERATIONS}`"
        ));
    }
    // What another process was told may still be in the environment, and is not meant for this one.
    if count == 0 || names.iter().all(|name| *name == UNKNOWN) {
        return Ok([Role::Api, Role::Operations]
            .into_iter()
            .take(count)
            .collect());
    }
    if names.len() != count {
        return Err(format!(
            "{count} listening sockets were handed over with {} names: LISTEN_FDNAMES must name each",
            names.len()
        ));
    }
    let roles: Vec<Role> = names
        .iter()
        .map(|name| match *name {
            API => Ok(Role::Api),
            OPERATIONS => Ok(Role::Operations),
            other => Err(format!(
                "a listening socket was handed over with the name `{other}`; write FileDescriptorName={API} or FileDescriptorName={OPERATIONS}"
            )),
        })
        .collect::<Result<_, _>>()?;
    match roles.as_slice() {
        [first, second] if first == second => Err(format!(
            "two listening sockets were handed over with the name `{}`; each listener has one",
            names.first().copied().unwrap_or_default()
        )),
        _ => Ok(roles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name_and_without_names_by_order() {
        use Role::{Api, Operations};
        for (count, names, expected) in [
            (0, "", vec![]),
            (0, "http:varlink", vec![]),
            (1, "", vec![Api]),
            (2, "", vec![Api, Operations]),
            (2, "unknown:unknown", vec![Api, Operations]),
            (2, "api:ops", vec![Api, Operations]),
            (2, "ops:api", vec![Operations, Api]),
            (1, "ops", vec![Operations]),
        ] {
            assert_eq!(roles(count, names), Ok(expected), "{count} {names}");
        }
    }

    #[test]
    fn sockets_that_nobody_can_tell_apart_are_refused() {
        for (count, names, why) in [
            (3, "", "3 listening sockets"),
            (3, "api:ops:api", "3 listening sockets"),
            (1, "http", "`http`"),
            (2, "tidegate.socket:tidegate.socket", "`tidegate.socket`"),
            (2, "api:api", "two listening sockets"),
            (2, "api", "with 1 names"),
        ] {
            let error = roles(count, names).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
