//! The documentation page: Swagger UI with a frame that asks for the key. Everything is in the program, nothing is
//! loaded from elsewhere.

use std::collections::HashMap;
use std::io::{Cursor, Read as _};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// What the page may load and do. Scripts come from files of this origin alone; Swagger UI writes `style` attributes and
/// shows its icons as `data:` pictures.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// One file of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Bytes,
    /// A strong entity tag, with its quotation marks.
    pub etag: String,
}

/// Most bytes that a file of Swagger UI unpacks to.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Files of the page that are ours.
const OWN: &[(&str, &str, &str)] = &[
    (
        "",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Files of Swagger UI: the name here, the end of the name in its archive, and the type.
const SWAGGER_UI: &[(&str, &str, &str)] = &[
    (
        "swagger-ui-bundle.js",
        "/dist/swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
    (
        "swagger-ui.css",
        "/dist/swagger-ui.css",
        "text/css; charset=utf-8",
    ),
    (
        "swagger-ui-license.txt",
        "/LICENSE",
        "text/plain; charset=utf-8",
    ),
];

/// The file at a path below `/docs/`; the page itself is at the empty path. The archive is unpacked at the first call.
pub fn asset(path: &str) -> Option<Asset> {
    static ASSETS: OnceLock<HashMap<&'static str, Asset>> = OnceLock::new();
    ASSETS.get_or_init(unpack).get(path).cloned()
}

fn unpack() -> HashMap<&'static str, Asset> {
    let mut assets: HashMap<&'static str, Asset> = OWN
        .iter()
        .map(|(path, content_type, text)| {
            let bytes = Bytes::from_static(text.as_bytes());
            (*path, of_bytes(content_type, bytes))
        })
        .collect();
    // The archive is part of the program and a test opens it; if it were damaged, the files would be missing.
    let Ok(mut archive) = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)) else {
        return assets;
    };
    for (path, ending, content_type) in SWAGGER_UI {
        // Of names that end alike, the one at the top of the archive is meant.
        let name = archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .filter(|name| name.ends_with(ending))
            .min_by_key(String::len);
        let Some(file) = name.and_then(|name| archive.by_name(&name).ok()) else {
            continue;
        };
        let mut bytes = Vec::new();
        if file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).is_ok() {
            assets.insert(path, of_bytes(content_type, Bytes::from(bytes)));
        }
    }
    assets
}

fn of_bytes(content_type: &'static str, bytes: Bytes) -> Asset {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&bytes));
    Asset {
        content_type,
        bytes,
        etag: format!("\"{digest}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        String::from_utf8(asset(path).unwrap().bytes.to_vec()).unwrap()
    }

    #[test]
    fn everything_that_the_page_names_is_there() {
        let page = text("");
        for attribute in ["src=\"", "href=\""] {
            for piece in page.split(attribute).skip(1) {
                let path = piece.split('"').next().unwrap();
                assert!(asset(path).is_some(), "{path} is missing");
            }
        }
        assert!(asset("swagger-ui-bundle.js").unwrap().bytes.len() > 1_000_000);
        assert!(text("swagger-ui-license.txt").contains("Apache License"));
        assert!(asset("../Cargo.toml").is_none());
        assert!(asset("index.html").is_none());
    }

    #[test]
    fn the_page_has_no_inline_script_and_no_foreign_address() {
        let page = text("");
        for piece in page.split("<script").skip(1) {
            assert!(piece.starts_with(" src="), "an inline script");
        }
        assert!(!page.contains("onload=") && !page.contains("onclick="));
        for path in ["", "page.js", "page.css"] {
            let text = text(path).replace("http://127.0.0.1:8080", "");
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "{path} names a foreign address"
            );
        }
    }

    #[test]
    fn different_files_have_different_tags() {
        let tag = |path: &str| asset(path).unwrap().etag;
        assert_eq!(tag(""), tag(""));
        assert_ne!(tag("page.js"), tag("page.css"));
        assert!(tag("").starts_with('"') && tag("").ends_with('"'));
    }
}
