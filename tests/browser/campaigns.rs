//! Campaigns: made from a file or a filter, looked at, approved, started, followed as they go on, stopped, tried again.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::{ENTER, ESCAPE, Window};
use crate::behaviour::console::with_users;
use crate::program::Program;
use crate::support::database::TestDatabase;

embedded!(
    a_file_becomes_a_campaign_that_is_followed_to_its_end,
    a_campaign_is_stopped_by_keys_and_a_second_operator_hears_of_it,
    a_campaign_made_from_a_filter_is_paused_resumed_and_aborted,
    what_failed_of_a_campaign_is_looked_at_and_tried_again,
    an_approver_approves_what_the_dry_run_shows,
);

impl Window {
    /// Fills in the form of a new campaign and sends it.
    pub fn makes_campaign(&self, program: &Program, fields: &[(&str, &str)]) {
        let file = program.write("leavers.csv", "account_number,date,reason\n1002,,moved away\n1003,,\nnobody,,\n");
        self.go("/campaigns");
        self.click("#new");
        self.until("#new-form");
        self.types("#name", "Leavers");
        self.uploads("#file", &file);
        self.click("#children option[value='keep']");
        for (id, value) in fields {
            self.types(&format!("#{id}"), value);
        }
        self.click("#make");
        self.until_says("#notice", "Leavers");
    }
}

async fn a_file_becomes_a_campaign_that_is_followed_to_its_end(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    window.makes_campaign(&program, &[("canary", "1")]);
    window.click("#dry-run");
    window.until_says("#blockers", "nobody");
    window.until_says("main dl", "USD 21.54");
    assert!(window.shows(".chart rect"), "by day, by amount");
    window.click("#start");
    // The canary is done: the page, told so by the server, offers what is next by itself.
    window.until_says("#state", "is paused");
    window.until("#resume");
    assert_eq!(db.count("invoices").await, 1);
    window.click("#resume");
    window.until("dialog #confirm");
    window.click("dialog #confirm");
    window.until_says("#state", "is completed");
    window.until_says("#so-far", "2 disconnected, 1 left out");
    window.until("#report-csv");
    window.click("main a[href='/events?campaign=1']");
    window.until_says("#events", "1002");
    window.ends_clean();
}

async fn a_campaign_is_stopped_by_keys_and_a_second_operator_hears_of_it(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let (first, second) = (Window::of(&served, Role::Operator), Window::of(&served, Role::Admin));
    first.makes_campaign(&program, &[("date", "12012099")]);
    first.click("#dry-run");
    first.click("#start");
    first.until_says("#state", "is running");
    second.go("/campaigns/1");
    second.click("#pause");
    second.until("dialog #confirm");

    first.tabs_to("#abort");
    first.press(ENTER);
    first.until_focused("#window-title");
    first.press(ESCAPE);
    first.until_gone("dialog");
    first.until_focused("#abort");
    assert_eq!(program.json(&["campaign", "show", "1"])["state"], "running", "nothing was done");
    first.press(ENTER);
    first.until_focused("#window-title");
    first.types("dialog #reason", "the wrong list");
    first.tabs_to("#confirm");
    first.press(ENTER);
    first.until_says("#notice", "is aborted");
    first.until_says("#state", "the wrong list");

    second.click("dialog #confirm");
    second.until_says("dialog #form-error", "was aborted");
    second.press(ESCAPE);
    second.until_gone("dialog");
    first.ends_clean();
    second.ends_clean();
}

async fn a_campaign_made_from_a_filter_is_paused_resumed_and_aborted(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    for (window, id) in Window::with_and_without_javascript(&served, Role::Operator).into_iter().zip(["1", "2"]) {
        window.go("/campaigns/new");
        window.types("#name", "Tower 3");
        window.types("#where", "group tower-3");
        window.click("#children option[value='keep']");
        window.types("#date", "12012099");
        window.click("#make");
        window.until("#where[aria-invalid='true']");
        window.until("#where-error");
        assert_eq!(window.value("#date"), "2099-12-01", "what was typed stays");
        window.types("#where", "group = tower-3 and balance > 0");
        window.click("#make");
        window.until_says("#notice", "is made, of 2 accounts. It does nothing yet.");
        window.until_says("h1 + p", "group = tower-3 and balance > 0");
        window.click("#dry-run");
        window.until_says("#dry-run", "2");
        window.click("#start");
        window.until_says("#state", "is running");
        for (command, reason, said) in [
            ("pause", "calls come in", "is paused: calls come in"),
            ("resume", "", "is running"),
            ("abort", "the wrong tower", "was aborted: the wrong tower"),
        ] {
            window.click(&format!("#{command}"));
            window.until_says("#window-title", &format!("campaign {id}"));
            window.until_says("#command-window", "2 ");
            if !reason.is_empty() {
                window.types("#reason", reason);
            }
            window.click("#confirm");
            window.until_says("#state", said);
        }
        for command in ["#pause", "#resume", "#abort"] {
            window.until_gone(command);
        }
        assert_eq!(program.json(&["campaign", "show", id])["state"], "aborted");
        window.ends_clean();
    }
    assert_eq!(db.count("invoices").await, 0);
}

async fn what_failed_of_a_campaign_is_looked_at_and_tried_again(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    drop(served);
    // Nobody waits here for tries that are bound to fail.
    let program = program.configured("[worker]\nfailures_max = 1\n");
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let windows = Window::with_and_without_javascript(&served, Role::Operator);
    for ((window, account), id) in windows.into_iter().zip(["1002", "1003"]).zip(["1", "2"]) {
        // Without a script, nothing tells the page how it goes on.
        let looks_again = |code| {
            if !window.has_javascript() {
                program.run(&["campaign", "watch", id, "--wait", "20"]).exits(code);
                window.go(&format!("/campaigns/{id}"));
            }
        };
        db.sabotage("accounts", account).await;
        window.go("/campaigns/new");
        window.types("#name", "One of them");
        window.types("#numbers", account);
        window.types("#pause_percent", "100");
        window.click("#make");
        window.click("#dry-run");
        window.click("#start");
        window.until("#progress");
        looks_again(1);
        window.until_says("#so-far", "1 failed");
        window.until_says("#state", "is completed");
        window.until_gone("[data-live]");
        window.click("#so-far a");
        window.until_says("#events", "sabotaged");
        window.back();
        db.end_sabotage().await;
        window.click("#retry");
        window.until_says("#command-window", "1 account that failed");
        window.click("#confirm");
        window.until_says("#notice", "is tried again");
        looks_again(0);
        window.until_says("#so-far", "1 disconnected");
        window.until_gone("#retry");
        window.ends_clean();
    }
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 2);
}

async fn an_approver_approves_what_the_dry_run_shows(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["settings", "set", "campaign_approval_over", "1"]).exits(0);
    let makers = Window::with_and_without_javascript(&served, Role::Operator);
    let approvers = Window::with_and_without_javascript(&served, Role::Approver);
    for ((maker, approver), id) in makers.into_iter().zip(approvers).zip(["1", "2"]) {
        let dry_run = format!("/campaigns/{id}/dry-run");
        maker.makes_campaign(&program, &[("date", "12012099")]);
        maker.until_says("#next-step", "Somebody else than its maker");
        maker.click("#dry-run");
        maker.until_at(&dry_run);
        maker.until("#dry-run");
        assert!(!maker.shows("#start") && !maker.shows("#approve"));
        approver.go(&dry_run);
        approver.click("#approve");
        approver.until_says("#notice", "is approved");
        approver.until_says("#facts", "given by approver");
        maker.go(&dry_run);
        maker.click("#start");
        maker.until_says("#state", "is running");
        program.run(&["campaign", "abort", id, "--yes"]).exits(0);
        maker.ends_clean();
        approver.ends_clean();
    }
}
