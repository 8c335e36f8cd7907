//! A headless Chromium behind its driver, spoken to in the protocol of the W3C recommendation "Webdriver".

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::TestClient;

/// One browser with one page.
pub struct Browser {
    driver: Child,
    client: TestClient,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one; none where Chromium or its driver is not installed.
    pub fn start() -> Option<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(driver.stdout.take()?).lines();
        let port: u16 = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split_once("started successfully on port ")?.1;
                rest.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        // The driver must never wait for a reader of its output.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let client = TestClient::new(SocketAddr::from(([127, 0, 0, 1], port))).unchecked();
        let mut browser = Self {
            driver,
            client,
            session: String::new(),
            profile,
        };
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--window-size=1280,1600",
                format!("--user-data-dir={}", browser.profile.path().display()),
            ]},
        }}});
        let answer = browser.command("POST", "/session", &capabilities);
        answer["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("a session: {answer}"))
            .clone_into(&mut browser.session);
        Some(browser)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, path);
        let answer = match method {
            "POST" => request.json(body).send(),
            _ => request.send(),
        };
        let mut value = answer.json()["value"].take();
        assert_eq!(answer.status, 200, "{method} {path}: {value}");
        value.take()
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}{rest}", self.session)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.command("POST", &self.path("/url"), &json!({"url": url}));
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.command("POST", &self.path("/execute/sync"), &body)
    }

    /// Waits until a script returns something that is true, and gives it.
    pub fn wait_for(&self, what: &str, script: &str) -> Value {
        super::eventually(what, 30, || {
            Some(self.run(script))
                .filter(|value| !(value.is_null() || *value == json!(false) || *value == json!("")))
        })
    }

    /// Clicks the first element that a CSS selector finds, once it is there.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command(
            "POST",
            &self.path(&format!("/element/{element}/click")),
            &json!({}),
        );
    }

    /// Types into the first element that a CSS selector finds.
    pub fn enter(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(
            "POST",
            &self.path(&format!("/element/{element}/value")),
            &json!({"text": text}),
        );
    }

    fn element(&self, selector: &str) -> String {
        self.wait_for(
            &format!("an element {selector}"),
            &format!(
                "const e = document.querySelector({}); if (e) e.scrollIntoView({{block: 'center'}}); return !!e",
                json!(selector)
            ),
        );
        let body = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", &self.path("/element"), &body);
        found
            .as_object()
            .and_then(|object| object.values().next())
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("an element: {found}"))
            .to_owned()
    }

    /// What the page wrote to its console at the level of an error.
    pub fn errors(&self) -> Vec<String> {
        let log = self.command("POST", &self.path("/se/log"), &json!({"type": "browser"}));
        log.as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Saves a picture of the page.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.command("GET", &self.path("/screenshot"), &Value::Null);
        let bytes = STANDARD
            .decode(picture.as_str().unwrap_or_default())
            .unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Closes Chromium; without it the browser would outlive its driver.
            let _ = self
                .client
                .request("DELETE", &self.path(""))
                .send_that_may_break();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
