//! Who is asking, and may they. Knows nothing of snapshots.

pub mod application;
pub mod identify;
pub mod key;
pub mod role;
