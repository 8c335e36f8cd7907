//! What the end-to-end tests share: the real binary, a client that is strict about every answer, a watched
//! directory, sample data and a browser.

pub mod browser;
pub mod client;
pub mod gateway;
pub mod git;
pub mod iridium;
pub mod mysql;
#[expect(dead_code, reason = "the contract suite uses the rest")]
pub mod postgresql;
pub mod sample;
pub mod signing;
pub mod systemd;
pub mod watched;

pub use client::{Answer, TestClient};
pub use gateway::TestGateway;
pub use watched::WatchedDirectory;

/// Whether the environment says that a test may not be skipped for want of `what`
/// (`TIDEGATE_TEST_REQUIRE=postgresql,chromium`, as `tests/run` sets it).
pub fn is_required(what: &str) -> bool {
    std::env::var("TIDEGATE_TEST_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|name| name.trim() == what))
}

/// Skips a test, loudly, or fails it where it is required.
pub fn skip(what: &str) {
    assert!(!is_required(what), "{what} is required and was not found");
    eprintln!("SKIPPED: {what} was not found");
}

/// Asks again until `probe` gives a value, for at most `seconds`; panics with `what` otherwise. Waiting for a
/// state of another process, so that no test has to guess how long something takes.
pub fn eventually<T>(what: &str, seconds: u64, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "gave up after {seconds} s: {what}"
        );
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
