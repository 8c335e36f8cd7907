//! The only module that names warp and hyper: bytes in, request head and body out, and back.

mod body;
pub mod client;
mod filter;
pub mod listener;

pub use listener::{Listener, Pulse, Server};
