//! Who is asking, and may they. Knows nothing of snapshots.

pub mod role;
