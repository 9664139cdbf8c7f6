//! What the pages look like, to people and to assistive technology.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use disconnectd::domain::token::Role;
use serde_json::{Value, json};

use super::embedded;
use super::window::Window;
use crate::behaviour::console::{with_the_sample, with_users};
use crate::program::Program;
use crate::support::database::TestDatabase;

embedded!(no_page_is_a_barrier);

/// The looks of each page, by name: the width of the screen and the system's colours.
const LOOKS: [(&str, u32, &str); 3] = [("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 375, "light")];

/// Version 4.14.1. It finds what keeps people out: missing names, weak contrast, wrong roles.
const AXE: &str = include_str!("axe/axe.min.js");

/// Each kind of page by name, with a step that is to be made on it.
const PAGES: [(&str, &str, &[&str]); 39] = [
    ("accounts", "/accounts", &[]),
    ("menu", "/accounts", &["[data-account='1001'] summary"]),
    ("dialog", "/accounts", &["[data-account='1001'] summary", "[data-account='1001'] [data-window]"]),
    ("nothing-found", "/accounts?search=nobody+at+all", &[]),
    ("account", "/accounts/1001", &[]),
    ("account-menu", "/accounts/1001", &[".head summary"]),
    ("account-disconnected", "/accounts/1002", &[]),
    ("invoices", "/accounts/1002/invoices", &[]),
    ("no-invoices", "/accounts/1001/invoices", &[]),
    ("family", "/accounts/1001/family", &[]),
    ("events", "/accounts/1002/events", &[]),
    ("log", "/accounts/1002/log", &[]),
    ("invoice", "/invoices/1", &[]),
    ("window", "/accounts/1001/disconnect", &[]),
    ("family-large", "/accounts/3000/family", &[]),
    ("window-large", "/accounts/3000/disconnect", &["#without-contact", "#find-children"]),
    ("window-refused", "/accounts/1001/disconnect", &["#when-date", "#disconnect"]),
    ("all-events", "/events", &[]),
    ("event", "/events/2", &[]),
    ("event-menu", "/events", &["[data-event='2'] summary"]),
    ("event-dialog", "/events/2", &[".head summary", ".head a[href$='/reschedule']"]),
    ("calendar", "/events/calendar?month=2099-12", &[]),
    ("campaigns", "/campaigns", &[]),
    ("campaign-new", "/campaigns/new", &[]),
    ("campaign-filter", "/campaigns/new?where=group+%3D+tower-3", &["#pick summary"]),
    ("campaign-change", "/campaigns/3/change", &[]),
    ("campaign-dry-run", "/campaigns/1/dry-run", &[]),
    ("campaign", "/campaigns/1", &[]),
    ("campaign-over", "/campaigns/2", &[]),
    ("campaign-dialog", "/campaigns/1", &["#abort"]),
    ("system", "/system", &[]),
    ("settings", "/system/settings", &[]),
    ("tokens", "/system/tokens", &[]),
    ("users", "/system/users", &[]),
    ("password", "/password", &[]),
    ("sessions", "/sessions", &[]),
    ("sessions-of-a-user", "/system/users/sessions?name=admin", &[]),
    ("sessions-none", "/system/users/sessions?name=viewer", &[]),
    ("not-found", "/accounts/none", &[]),
];

/// Something on every page: children, a disconnected account, one with an event, long words.
fn furnish(program: &Program) {
    program.write(
        "more.csv",
        "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n\
         1004,Dora Miller,Active,1001,USD,,12 Elm Street,dora@example.com,,tower-3\n\
         2001,The Honourable Society of Lighthouse Keepers of the Outer Hebrides and Adjacent Islands,Active,,USD,,\
         \"Unit 1204, The Old Telephone Exchange, 98 Upper Harbourside Parade, Port Ellen\",keepers@example.com,,\n",
    );
    program.run(&["import", "accounts", "more.csv"]).exits(0);
    let child = |n| {
        let email = if n % 40 == 0 { String::new() } else { format!("room{n}@example.com") };
        format!("3000-{n:03},Room {n},Active,3000,USD,,,{email},,\n")
    };
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n\
                3000,Harbour Hotel,Active,,USD,,1 Quay,hotel@example.com,,\n";
    program.write("hotel.csv", head.to_owned() + &(1..=120).map(child).collect::<String>());
    program.run(&["import", "accounts", "hotel.csv"]).exits(0);
    program.run(&["disconnect", "1002", "--yes", "--reason", "moved to another town"]).exits(0);
    program.run(&["schedule", "2001", "--on", "2099-12-01", "--yes"]).exits(0);
    program.write("list.csv", "account_number\n1003\n1002\nnobody\n");
    let create = ["campaign", "create", "--accounts", "list.csv", "--children", "keep", "--name"];
    program.run(&[&create[..], &["Leavers in December", "--on", "2099-12-24", "--canary", "1"]].concat()).exits(0);
    program.run(&["campaign", "start", "1", "--yes"]).exits(0);
    program.run(&["campaign", "pause", "1", "--reason", "calls come in"]).exits(0);
    program.run(&[&create[..], &["Tried and left"]].concat()).exits(0);
    program.run(&["campaign", "abort", "2", "--yes"]).exits(0);
    let in_a_second = "2099-12-24T09:00:30";
    program.run(&[&create[..], &["Not begun", "--on", in_a_second, "--per-minute", "60"]].concat()).exits(0);
}

impl Window {
    /// Makes a step of [`PAGES`], and waits until what it leads to is there.
    fn steps(&self, steps: &[&str]) {
        for step in steps {
            self.click(step);
        }
        match steps.last() {
            Some(&step) if step.ends_with("[data-window]") => self.until("dialog #disconnect"),
            Some(&step) if step.ends_with("/reschedule']") || step == "#abort" => self.until("dialog #confirm"),
            Some(&"#disconnect") => self.until("#date-error"),
            Some(&"#find-children") => self.until("#found"),
            Some(&"#pick summary") => self.until("#pick[open] #add-picked"),
            Some(_) => self.until("details.menu[open] ul"),
            None => {}
        }
    }
}

async fn no_page_is_a_barrier(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    furnish(&program);
    let window = Window::of(&served, Role::Admin);
    let mut found = String::new();
    for (name, path, steps) in PAGES {
        window.looks(1280, "light");
        window.go(path);
        window.steps(steps);
        for (look, width, colours) in LOOKS {
            window.looks(width, colours);
            // In the dark, colours are all that changes.
            let options = if look == "dark" { json!({"runOnly": ["color-contrast"]}) } else { json!({}) };
            found += &barriers(&window, &format!("{name}, {look}"), &options);
            if look == "phone" {
                let excess = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
                let excess = window.script(excess, &[]);
                if excess != 0 {
                    let _ = writeln!(found, "{name}: a phone has to be scrolled to the side, by {excess} px");
                }
            }
        }
    }
    window.go("/accounts");
    window.click("#sign-out");
    window.until("#sign-in");
    found += &barriers(&window, "sign-in", &json!({}));
    assert!(found.is_empty(), "{found}");
    window.ends_clean();
}

/// What keeps people out of this page, serious or critical, a line each.
fn barriers(window: &Window, page: &str, options: &Value) -> String {
    let is_there = window.script("return typeof axe !== 'undefined'", &[]);
    if is_there != true {
        window.script(AXE, &[]);
    }
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run({...arguments[0], resultTypes: ['violations']}).then((found) => done(found.violations), (e) => done(String(e)))";
    let violations = window.async_script(run, std::slice::from_ref(options));
    let mut lines = String::new();
    for violation in violations.as_array().unwrap_or_else(|| panic!("{page}: axe says {violations}")) {
        if violation["impact"] != "serious" && violation["impact"] != "critical" {
            continue;
        }
        for node in violation["nodes"].as_array().unwrap() {
            let _ = writeln!(lines, "{page}: {} {} {}", violation["id"], node["target"], node["failureSummary"]);
        }
    }
    lines
}

/// For people to look at, by `tests/screenshots`: no test, but it needs what tests need.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/screenshots runs it, for people to look at"]
async fn screenshots() {
    use crate::support::database::Engine;
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let folder = std::env::var("DISCONNECTD_SCREENSHOTS").expect("tests/screenshots says where to");
        let (program, served) = with_users(db).await;
        furnish(&program);
        let window = Window::open(&served);
        let take = |name: &str| {
            for (look, width, colours) in LOOKS {
                window.looks(width, colours);
                window.saves(&format!("{folder}/{name}-{look}.png"));
            }
            window.looks(1280, "light");
        };
        window.go("/sign-in");
        take("sign-in");
        window.signs_in("admin");
        for (name, path, steps) in PAGES {
            window.go(path);
            window.steps(steps);
            take(name);
        }
        window.go("/invoices/1");
        window.prints();
        window.saves(&format!("{folder}/invoice-print.png"));
    })
    .await;
}

impl Window {
    fn saves(&self, file: &str) {
        std::fs::write(file, STANDARD.decode(self.screenshot()).unwrap()).unwrap();
    }
}

/// The three of the README, of the sample provider: `tests/screenshots` puts them into the same folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/screenshots runs it, for people to look at"]
async fn screenshots_of_the_sample() {
    use crate::support::database::Engine;
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let folder = std::env::var("DISCONNECTD_SCREENSHOTS").expect("tests/screenshots says where to");
        let (program, served) = with_the_sample(db).await;
        let window = Window::of(&served, Role::Admin);
        window.looks(1280, "light");
        window.go("/accounts?search=street&status=Active");
        window.click("tbody tr:nth-child(3) summary");
        window.click("tbody tr:nth-child(3) [data-window]");
        window.until("dialog #disconnect");
        window.saves(&format!("{folder}/readme-disconnect.png"));
        let filter = "group = \"churn: yes\" and balance > 0";
        let create = ["campaign", "create", "--name", "Leavers in December", "--children", "keep", "--canary", "25"];
        program.run(&[&create[..], &["--per-minute", "1200", "--where", filter]].concat()).exits(0);
        window.go("/campaigns/1/dry-run");
        window.until("#start");
        window.saves(&format!("{folder}/readme-dry-run.png"));
        window.click("#start");
        window.until("#resume");
        window.click("#resume");
        window.click("dialog #confirm");
        // Some seconds of it, so that a rate is known.
        window.until_says("#progress", "left");
        window.looks(1280, "dark");
        window.saves(&format!("{folder}/readme-campaign.png"));
    })
    .await;
}
