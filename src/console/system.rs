//! How the installation is: who serves, what waits, what is wrong. Below it are its settings, tokens and users.

pub mod settings;
pub mod tokens;
pub mod users;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::Shared;
use super::gate::Visitor;
use crate::api::problem::Answer;
use crate::doctor::{self, Check, Depth, Finding};
use crate::domain::token::Role;

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPart {
    is_admin: bool,
    tab: &'static str,
    /// In a sentence.
    verdict: &'static str,
    is_well: bool,
    is_whole: bool,
    checks: Vec<Check>,
}

impl SystemPart {
    fn verdict(checks: &[Check]) -> (bool, &'static str) {
        let worst = |finding| checks.iter().any(|check| check.finding == finding);
        if worst(Finding::Wrong) {
            (false, "Something is wrong: see below what, and what to do.")
        } else if worst(Finding::Warning) {
            (false, "It works. There is something to know: see below.")
        } else {
            (true, "All is well.")
        }
    }
}

#[derive(Deserialize)]
pub struct SystemAsked {
    data: Option<String>,
}

/// At a glance; all of the data is read only where that is asked for.
pub async fn show(
    State(console): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<SystemAsked>,
) -> Answer<Response> {
    let is_whole = asked.data.is_some();
    let diagnosis = if is_whole {
        let _alone = console.examining.begin()?;
        doctor::diagnose(&*console.store, &console.probes, Depth::All).await
    } else {
        doctor::diagnose(&*console.store, &console.probes, Depth::Glance).await
    };
    let (is_well, verdict) = SystemPart::verdict(&diagnosis.checks);
    let is_admin = visitor.may(Role::Admin);
    let part = SystemPart { is_admin, tab: "health", verdict, is_well, is_whole, checks: diagnosis.checks };
    visitor.view("System", &part)
}
