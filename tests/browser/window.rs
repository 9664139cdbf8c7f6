//! A browser window in a test's hands. It speaks WebDriver, which is JSON over HTTP, to the chromedriver that
//! `tests/run` starts.

mod devtools;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use disconnectd::domain::token::Role;
use serde_json::{Value, json};

use crate::behaviour::console::PASSWORD;
use crate::http::Request;
use crate::program::Served;
use crate::support::SOON;

/// How WebDriver names an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const TAB: &str = "\u{e004}";
pub const DOWN: &str = "\u{e015}";
pub const RIGHT: &str = "\u{e014}";

/// A session of WebDriver: a browser with a profile of its own. Ended when dropped.
pub struct Window {
    driver: SocketAddr,
    session: String,
    console: SocketAddr,
    has_javascript: bool,
}

impl Window {
    pub fn open(served: &Served) -> Self {
        Self::opened(served, true)
    }

    pub fn without_javascript(served: &Served) -> Self {
        Self::opened(served, false)
    }

    fn opened(served: &Served, has_javascript: bool) -> Self {
        let driver = std::env::var("DISCONNECTD_TEST_WEBDRIVER")
            .unwrap_or_else(|_| panic!("DISCONNECTD_TEST_WEBDRIVER is not set: run tests/run, which starts it"));
        let scripts = if has_javascript { 1 } else { 2 };
        let preferences = json!({
            "intl.accept_languages": "en-US",
            "profile.managed_default_content_settings.javascript": scripts,
        });
        let capabilities = json!({
            "goog:chromeOptions": {
                "args": [
                    "--headless=new", "--window-size=1280,900", "--lang=en-US", "--force-color-profile=srgb",
                    // In a container there are neither the rights nor the memory that it would like to have.
                    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                    "--no-first-run", "--no-proxy-server", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync", "--disable-default-apps",
                ],
                "prefs": preferences,
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"implicit": 0, "pageLoad": 30_000, "script": 30_000},
        });
        let (driver, session, console) = (driver.parse().unwrap(), String::new(), served.address);
        let mut window = Self { driver, session, console, has_javascript };
        let opened = window.asked("POST", "", Some(&json!({"capabilities": {"alwaysMatch": capabilities}})));
        let opened = opened.unwrap_or_else(|error| panic!("the browser does not start: {error}"));
        window.session = format!("/{}", opened["sessionId"].as_str().unwrap());
        window
    }

    /// Signed in as the user of this role, at the list of accounts.
    pub fn of(served: &Served, role: Role) -> Self {
        let window = Self::open(served);
        window.signs_in(role.as_str());
        window.until("#accounts");
        window
    }

    /// The same in two browsers, the second one without JavaScript: for what has to go in both.
    pub fn with_and_without_javascript(served: &Served, role: Role) -> [Self; 2] {
        [Self::of(served, role), Self::without_javascript_of(served, role)]
    }

    pub fn without_javascript_of(served: &Served, role: Role) -> Self {
        let window = Self::without_javascript(served);
        window.signs_in(role.as_str());
        window.until("#accounts");
        window
    }

    pub fn has_javascript(&self) -> bool {
        self.has_javascript
    }

    /// From wherever it is: the path may be one that leads to the sign-in page.
    #[track_caller]
    pub fn signs_in(&self, name: &str) {
        self.tries_to_sign_in(name, PASSWORD);
        self.until("#user");
    }

    #[track_caller]
    pub fn tries_to_sign_in(&self, name: &str, password: &str) {
        if self.find("#sign-in").is_none() {
            self.go("/sign-in");
        }
        self.types("#name", name);
        self.types("#password", password);
        self.click("#sign-in button");
    }

    /// One command. `Err` has WebDriver's name for what went wrong.
    fn asked(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let request = Request::new(self.driver, method, &format!("/session{}{path}", self.session));
        let request = match (method, body) {
            ("POST", body) => request.json(body.unwrap_or(&json!({}))),
            _ => request,
        };
        let answer = request.try_answer().map_err(|error| error.to_string())?;
        let mut json = answer.json();
        match json["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", json["value"]["message"].as_str().unwrap_or_default())),
            None => Ok(json["value"].take()),
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.asked(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Tries until it is so, and shows the page where it never is.
    #[track_caller]
    fn wait<T>(&self, what: &str, mut tries: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = tries() {
                return found;
            }
            if begun.elapsed() > SOON {
                let source = self.asked("GET", "/source", None).unwrap_or_default();
                let scripts = if self.has_javascript { "" } else { " without JavaScript" };
                let source = source.as_str().unwrap_or_default();
                panic!("waited in vain for {what} at {}{scripts}: {source}", self.path());
            }
            sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub fn go(&self, path: &str) {
        self.ask("POST", "/url", Some(&json!({"url": format!("http://{}{path}", self.console)})));
    }

    /// The browser's own way back.
    #[track_caller]
    pub fn back(&self) {
        self.ask("POST", "/back", None);
    }

    /// Where it is, without the host.
    #[track_caller]
    pub fn path(&self) -> String {
        let url = self.ask("GET", "/url", None);
        url.as_str().unwrap().trim_start_matches(&format!("http://{}", self.console)).to_owned()
    }

    #[track_caller]
    pub fn until_at(&self, path: &str) {
        self.wait(path, || (self.path() == path).then_some(()));
    }

    pub fn find(&self, css: &str) -> Option<String> {
        let found = self.asked("POST", "/element", Some(&json!({"using": "css selector", "value": css}))).ok()?;
        Some(found[ELEMENT].as_str()?.to_owned())
    }

    fn shown(&self, css: &str) -> Option<String> {
        let element = self.find(css)?;
        let is_shown = self.asked("GET", &format!("/element/{element}/displayed"), None).ok()?;
        (is_shown == true).then_some(element)
    }

    /// Whether somebody would see it now.
    pub fn shows(&self, css: &str) -> bool {
        self.shown(css).is_some()
    }

    /// Waits until it is to be seen.
    #[track_caller]
    pub fn until(&self, css: &str) {
        self.wait(css, || self.shown(css));
    }

    #[track_caller]
    pub fn until_gone(&self, css: &str) {
        self.wait(&format!("the end of {css}"), || (!self.shows(css)).then_some(()));
    }

    /// What a part of the page says, once it is there.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        self.wait(css, || {
            let text = self.asked("GET", &format!("/element/{}/text", self.shown(css)?), None).ok()?;
            Some(text.as_str()?.to_owned())
        })
    }

    /// Waits until a part of the page says this.
    #[track_caller]
    pub fn until_says(&self, css: &str, words: &str) {
        self.wait(&format!("`{words}` in {css}"), || {
            let text = self.asked("GET", &format!("/element/{}/text", self.shown(css)?), None).ok()?;
            text.as_str()?.contains(words).then_some(())
        });
    }

    /// Clicks with the mouse, once it can be reached. On a button that is disabled until an answer comes, that would do
    /// nothing.
    #[track_caller]
    pub fn click(&self, css: &str) {
        self.wait(&format!("a click on {css}"), || {
            let element = self.find(css)?;
            let is_enabled = self.asked("GET", &format!("/element/{element}/enabled"), None).ok()?;
            (is_enabled == true).then_some(())?;
            self.asked("POST", &format!("/element/{element}/click"), None).ok()
        });
    }

    /// Types into a field, in place of what it holds.
    #[track_caller]
    pub fn types(&self, css: &str, text: &str) {
        self.wait(css, || {
            let element = self.shown(css)?;
            self.asked("POST", &format!("/element/{element}/clear"), None).ok()?;
            self.asked("POST", &format!("/element/{element}/value"), Some(&json!({"text": text}))).ok()
        });
    }

    /// What a field holds, once it is there.
    #[track_caller]
    pub fn value(&self, css: &str) -> String {
        self.wait(css, || {
            let value = self.asked("GET", &format!("/element/{}/property/value", self.shown(css)?), None).ok()?;
            Some(value.as_str()?.to_owned())
        })
    }

    /// Chooses a file.
    #[track_caller]
    pub fn uploads(&self, css: &str, file: &Path) {
        self.wait(css, || {
            let element = self.shown(css)?;
            self.asked("POST", &format!("/element/{element}/value"), Some(&json!({"text": file}))).ok()
        });
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        self.ask("POST", "/actions", Some(&json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})));
    }

    /// What the element with the focus is called: its id, else its name for assistive technology.
    #[track_caller]
    pub fn focused(&self) -> String {
        let element = self.ask("GET", "/element/active", None);
        let element = element[ELEMENT].as_str().unwrap().to_owned();
        let id = self.asked("GET", &format!("/element/{element}/attribute/id"), None).unwrap_or_default();
        if let Some(id) = id.as_str().filter(|id| !id.is_empty()) {
            return format!("#{id}");
        }
        let label = self.asked("GET", &format!("/element/{element}/computedlabel"), None).unwrap_or_default();
        label.as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn until_focused(&self, name: &str) {
        let mut last = String::new();
        self.wait(&format!("the focus on {name}"), || {
            last = self.focused();
            (last == name).then_some(())
        });
    }

    /// Goes on by Tab until it is there.
    #[track_caller]
    pub fn tabs_to(&self, name: &str) {
        /// More than any page has before what is sought.
        const STEPS_MAX: usize = 80;
        let mut passed = String::new();
        for _ in 0..STEPS_MAX {
            self.press(TAB);
            let focused = self.focused();
            if focused == name {
                return;
            }
            let _ = write!(passed, "{focused}, ");
        }
        panic!("Tab does not reach {name}; it passed {passed}");
    }

    /// Runs a script as the browser itself, which no page's policy stops. The last argument of an asynchronous one is
    /// to be called with its answer.
    #[track_caller]
    pub fn script(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": arguments})))
    }

    #[track_caller]
    pub fn async_script(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("POST", "/execute/async", Some(&json!({"script": script, "args": arguments})))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.asked("DELETE", "", None);
        }
    }
}
