//! The real binary, driven from outside: one module per question.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should panic, and it works with real files, processes and clocks"
)]

#[path = "../support/mod.rs"]
mod support;

mod activation;
mod attacks;
mod bad_input;
mod command_line;
mod conditions;
mod documentation_page;
mod drift;
mod errors;
mod examples;
mod expect;
mod explain;
mod formats;
mod git_source;
mod importing;
mod init;
mod keys;
mod last_good;
mod mysql;
mod operations;
mod outage;
mod overlays;
mod plan;
mod postgresql;
mod readme;
mod reload;
mod reload_applying;
mod reload_deciding;
mod reload_seeing;
mod roles;
mod round_trips;
mod routines;
mod scale;
mod schema;
mod secrets;
mod serving;
mod shutdown;
mod signed;
mod soak;
mod status;
mod streaming;
mod systemd;
mod units;
mod writing;
