//! What the daemon tells of itself: log lines and metrics. Names of fields and metrics are constants here.

pub mod log;
pub mod metrics;
