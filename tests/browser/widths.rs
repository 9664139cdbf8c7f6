//! What does not break a line is broken: no page has to be scrolled to the side.

use std::fmt::Write as _;

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::Window;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

embedded!(no_name_or_number_widens_a_page);

async fn no_name_or_number_widens_a_page(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    // Each as long as it may be, or longer than any screen, and a parent like its child.
    let [parent, child, leaver] = ["P", "C", "L"].map(|begins| format!("{begins}{}", "8".repeat(63)));
    let (name, campaign, reason) = ("W".repeat(200), "V".repeat(64), "y".repeat(300));
    let (group, street) = ("g".repeat(60), "S".repeat(120));
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups";
    let row = |number: &str, parent: &str| {
        let zone = "America/Argentina/ComodRivadavia";
        format!("{number},{name},Active,{parent},USD,{zone},{street},{number}@example.com,{street},{group}\n")
    };
    program.write("wide.csv", format!("{head}\n{}{}{}", row(&parent, ""), row(&child, &parent), row(&leaver, "")));
    program.run(&["import", "accounts", "wide.csv"]).exits(0);
    let head = "account_number,reference,description,amount,tax,charged_on";
    program.write(
        "debits.csv",
        format!("{head}\n{parent},a,{reason},9999999999.99,0.99,2026-11-01\n{child},a,{reason},1.00,0.00,2026-11-01\n"),
    );
    program.run(&["import", "debits", "debits.csv"]).exits(0);
    program.run(&["disconnect", &child, "--yes", "--reason", &reason]).exits(0);
    program.run(&["schedule", &parent, "--on", "2099-12-01", "--yes", "--reason", &reason]).exits(0);
    program.write(
        "list.csv",
        format!("account_number,date,reason\n{parent},,{reason}\n{child},,\n{leaver},,\n{group},,\n"),
    );
    let create = ["campaign", "create", "--name", &campaign, "--reason", &reason, "--children", "keep"];
    program.run(&[&create[..], &["--accounts", "list.csv", "--on", "2099-12-24"]].concat()).exits(0);
    program.run(&[&create[..], &["--where", &format!("name ~ {name}"), "--on", "2099-12-24"]].concat()).exits(0);
    program.run(&["campaign", "start", "1", "--yes"]).exits(0);
    program.run(&["campaign", "pause", "1", "--reason", &reason]).exits(0);
    // What failed tells why.
    db.sql(&format!("update disconnect_events set failures = 1, last_error = '{reason}' where state = 'scheduled'"))
        .await;
    let paths = [
        "/accounts".to_owned(),
        format!("/accounts/{parent}"),
        format!("/accounts/{child}"),
        format!("/accounts/{parent}/family"),
        format!("/accounts/{child}/invoices"),
        format!("/accounts/{parent}/events"),
        format!("/accounts/{child}/log"),
        format!("/accounts/{parent}/disconnect"),
        format!("/accounts/{child}/disconnect"),
        "/invoices/1".into(),
        "/events".into(),
        "/events/1".into(),
        "/events/2".into(),
        "/events/2/cancel".into(),
        "/events/calendar?month=2099-12".into(),
        "/campaigns".into(),
        "/campaigns/1".into(),
        "/campaigns/1/dry-run".into(),
        "/campaigns/1/abort".into(),
        "/campaigns/2".into(),
        "/campaigns/2/dry-run".into(),
        "/system".into(),
    ];
    let window = Window::of(&served, Role::Admin);
    let mut found = String::new();
    for width in [1280, 375] {
        window.looks(width, "light");
        for path in &paths {
            window.go(path);
            window.until("main h1");
            window.tells_excess(&mut found, width, path);
        }
        for (path, css) in [("/accounts", "tbody tr:last-child"), (paths[1].as_str(), ".head")] {
            window.go(path);
            window.click(&format!("{css} summary"));
            window.tells_excess(&mut found, width, &format!("{path} with its menu"));
            window.click(&format!("{css} [data-window]"));
            window.until("dialog #disconnect");
            window.tells_excess(&mut found, width, &format!("{path} with its dialog"));
        }
    }
    assert!(found.is_empty(), "{found}");
    window.ends_clean();
}

impl Window {
    /// What is wider than the window, or than the dialog in it.
    fn tells_excess(&self, found: &mut String, width: u32, what: &str) {
        let excess = "const dialog = document.querySelector('dialog[open]'), page = document.documentElement; \
                      return [page.scrollWidth - page.clientWidth, dialog ? dialog.scrollWidth - dialog.clientWidth : 0]";
        let excess = self.script(excess, &[]);
        if excess.as_array().unwrap().iter().any(|pixels| pixels.as_i64() > Some(0)) {
            let _ = writeln!(found, "{width} px: {what} is too wide, by {excess} px");
        }
    }
}
