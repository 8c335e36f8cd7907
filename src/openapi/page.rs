//! x
pub struct Asset {
    pub content_type: &'static str,
    pub bytes: bytes::Bytes,
    pub etag: String,
}
pub fn asset(_: &str) -> Option<Asset> {
    None
}
pub const CONTENT_SECURITY_POLICY: &str = "";
