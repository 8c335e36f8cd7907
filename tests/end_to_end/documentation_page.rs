//! Does the documentation page work in a real browser, without a network?

use serde_json::Value;

use crate::support::TestGateway;
use crate::support::browser::Browser;
use crate::support::sample::{self, READER};
use crate::support::skip;

#[test]
fn documents_show_what_the_key_may_do_and_no_more() {
    let narrow = "narrow-key-0123456789";
    let directory = sample::shop_with(&format!(
        "[role.narrow]\n[[role.narrow.access]]\nservice = \"shop\"\ncomponent = \"_table/tag/*\"\nverbs = [\"GET\"]\n\n{}",
        sample::key("narrow", "narrow", narrow)
    ));
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let document = |key: &str| -> Value {
        let answer = gateway.client_with(key).get("/api/v2/api_docs/shop");
        answer.expect_ok();
        answer.json()
    };
    let reader = document(READER);
    assert!(reader["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = reader["paths"].to_string();
    assert!(text.contains("/_table/customer"), "real tables: {text}");
    let narrow = document(narrow)["paths"].to_string();
    assert!(narrow.contains("/_table/tag"), "{narrow}");
    for hidden in ["customer", "secret", "\"post\"", "\"delete\""] {
        assert!(!narrow.contains(hidden), "{hidden} shows: {narrow}");
    }
    gateway
        .client()
        .get("/api/v2/api_docs/shop")
        .expect_error(401, "unauthenticated");
    gateway.stop();
}

#[test]
fn the_page_and_its_assets_come_from_the_gateway_alone() {
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    let client = gateway.client();
    let redirect = client.get("/docs");
    assert_eq!(redirect.header("location"), Some("/docs/"));
    let page = client.get("/docs/");
    page.expect_ok();
    let text = page.text();
    for foreign in ["//cdn", "https://unpkg", "https://fonts"] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    for piece in text.split(['"', '\'']).filter(|piece| {
        [".js", ".css", ".png"]
            .iter()
            .any(|end| piece.ends_with(end))
    }) {
        let target = if piece.starts_with('/') {
            piece.to_owned()
        } else {
            format!("/docs/{}", piece.trim_start_matches("./"))
        };
        client.get(&target).expect_ok();
    }
    assert!(page.header("content-security-policy").is_some());
    for path in ["/docs/../Cargo.toml", "/docs/%2e%2e/x", "/docs/none.js"] {
        assert_eq!(client.get(path).status / 100, 4, "{path}");
    }
    gateway.stop();
}

#[test]
fn a_request_sent_from_the_page_returns_rows() {
    let Some(browser) = Browser::start() else {
        return skip("chromium");
    };
    let directory = sample::shop();
    let gateway = TestGateway::start_with_data(directory.tree(), directory.data());
    browser.open(&format!("http://{}/docs", gateway.api));

    // The key is entered in the page; with it the page asks for the document that this key may see.
    browser.enter("#key", READER);
    browser.click("#load");
    browser.click("[data-tag='shop.customer'] button");
    browser.wait_for(
        "the operations of the shop",
        "return [...document.querySelectorAll('.opblock-summary-path')].some(e => e.textContent.replace(/\\u200b/g, '').endsWith('/_table/customer'))",
    );
    // Opens GET on the collection and sends it.
    let opened = browser.run(
        "const block = [...document.querySelectorAll('.opblock-get')].find(e => e.querySelector('.opblock-summary-path').textContent.replace(/\\u200b/g, '').endsWith('/_table/customer')); if (!block) return false; block.scrollIntoView(); block.querySelector('.opblock-summary-control').click(); return true",
    );
    assert_eq!(opened, true);
    browser.click(".opblock.is-open .execute");
    let rows = browser.wait_for(
        "rows in the page",
        "const e = [...document.querySelectorAll('.opblock.is-open .responses-wrapper .microlight, .opblock.is-open .live-responses-table pre')].map(e => e.textContent).find(t => t.includes('ann@example.org')); return e || ''",
    );
    assert!(rows.as_str().unwrap().contains("bo@example.org"));
    let picture = std::env::temp_dir().join("tidegate-documentation-page.png");
    browser.screenshot(&picture);
    eprintln!("a picture of the page is in {}", picture.display());
    assert_eq!(browser.errors(), Vec::<String>::new());
    drop(browser);
    gateway.stop();
}
