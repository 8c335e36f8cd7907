//! One request and its answer, free of any web framework.

pub mod body;
pub mod compress;
pub mod context;
pub mod format;
pub mod query;
pub mod reply;
pub mod request;
pub mod write;

pub use body::{Body, ByteStream};
pub use context::{CallContext, RequestId};
pub use format::{Format, negotiate};
pub use query::Query;
pub use reply::Reply;
pub use request::RequestHead;
