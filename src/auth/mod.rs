//! Who is asking, and may they. Knows no snapshots.

pub mod application;
pub mod identify;
pub mod key;
