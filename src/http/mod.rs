//! The only module that names warp and hyper: bytes in, request head and body out, and back.

mod body;
mod filter;
pub mod listener;

pub use listener::{Listener, Pulse, Server};
