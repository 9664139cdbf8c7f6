//! What Chromium alone can do: look like another screen or like paper, and tell what it has asked for.

use serde_json::{Value, json};

use super::Window;

impl Window {
    /// A command of the Chrome DevTools Protocol.
    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", Some(&json!({"cmd": command, "params": parameters})))
    }

    /// As on a screen of this width, with this system colour scheme: `light` or `dark`.
    #[track_caller]
    pub fn looks(&self, width: u32, colours: &str) {
        let screen = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let media = json!({"media": "", "features": [{"name": "prefers-color-scheme", "value": colours}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// As on paper.
    #[track_caller]
    pub fn prints(&self) {
        let paper = json!({"width": 794, "height": 1123, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &paper);
        self.devtools("Emulation.setEmulatedMedia", &json!({"media": "print"}));
    }

    /// What a colour comes to, with all that has a say in it: `rgb(...)`.
    #[track_caller]
    pub fn colour(&self, css: &str, property: &str) -> String {
        let element = self.find(css).unwrap_or_else(|| panic!("there is no {css}"));
        let computed = self.ask("GET", &format!("/element/{element}/css/{property}"), None);
        computed.as_str().unwrap().to_owned()
    }

    /// The whole page, also what is below the window, as the base64 of a PNG.
    #[track_caller]
    pub fn screenshot(&self) -> String {
        let taken = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        taken["data"].as_str().unwrap().to_owned()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.ask("POST", "/se/log", Some(&json!({"type": kind})));
        log.as_array().unwrap().clone()
    }

    /// Checks what holds for every page: no error in the browser's console, and nothing asked of anybody else.
    #[track_caller]
    pub fn ends_clean(self) {
        for entry in self.log("browser") {
            // A form that is answered with what is wrong in it is no error of the page.
            let is_refusal = entry["source"] == "network"
                && entry["message"].as_str().is_some_and(|message| message.contains("with a status of 4"));
            assert!(entry["level"] != "SEVERE" || is_refusal, "{entry}");
        }
        let own = format!("http://{}/", self.console);
        let mut asked = 0;
        for entry in self.log("performance") {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                let url = event["params"]["request"]["url"].as_str().unwrap();
                assert!(url.starts_with(&own) || url.starts_with("data:"), "it asks {url}");
                asked += 1;
            }
        }
        assert!(asked > 0, "the log of requests is not kept");
    }
}
