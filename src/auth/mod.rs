//! Who is asking, for what, and may they. Knows nothing of snapshots.

pub mod application;
pub mod authorize;
pub mod identify;
pub mod key;
pub mod reason;
pub mod role;
pub mod route;
