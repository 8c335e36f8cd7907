//! Tidegate turns a directory of TOML manifests into a secured REST interface.
//!
//! ```text
//!  a change                                           a request
//!  ────────                                           ─────────
//!  watch      something moved                         http      bytes in, RequestHead and Body out
//!    │        (a trigger, no data)                      │
//!  tree       all files, read twice alike             pipeline
//!    │                                                  │
//!  manifest   text → JSON → validated → typed           │  identify   headers          → Caller
//!    │        (pure; every problem, not the first)      │  route      method and path  → Route
//!  snapshot   plan: keep, open, replace, close          │  authorize  Caller, Route    → Permit
//!    │        (pure)                                    │  dispatch   Permit, Body     → Reply
//!    │        build: open only what changed             │  encode     Reply or Error   → Reply
//!    ▼                                                  ▼
//!  publish ─── one Arc<Snapshot>, swapped ───────────▶ http      bytes out
//! ```
//!
//! One request runs on one revision. What decides is pure; what touches is thin and named. One declaration
//! serves many uses. Modules stand in the order in which they may use each other: later ones use earlier ones.

pub mod child;
pub mod clock;
pub mod error;
pub mod names;
pub mod network;
pub mod secret;

pub mod telemetry;

pub mod exchange;

pub mod connector;

pub mod auth;

pub mod tree;

pub mod manifest;

pub mod openapi;

pub mod snapshot;

pub mod changes;

pub mod pipeline;

pub mod http;

pub mod watch;

pub mod daemon;

pub mod cli;
