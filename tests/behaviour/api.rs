//! The HTTP API as programs use it: what it answers, what it refuses, and that it says the same as the command line.

mod calls;
mod campaign_input;
mod campaigns;
mod once;
mod roles;

use serde_json::{Value, json};

use crate::http::Answer;
use crate::program::Served;

/// Sends a document, or nothing for null.
fn send(served: &Served, method: &str, path: &str, body: &Value) -> Answer {
    let request = served.request(method, path);
    if body.is_null() { request.answer() } else { request.json(body).answer() }
}

#[track_caller]
fn get(served: &Served, path: &str) -> Value {
    served.request("GET", path).answer().is(200).json()
}

#[track_caller]
fn post(served: &Served, path: &str, body: &Value) -> Answer {
    send(served, "POST", path, body)
}

/// A date that does not come while a test runs.
fn later() -> Value {
    json!({ "on": "2099-12-01", "children": "keep" })
}

/// Percent-encoded, every byte of it.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"))
}
