//! Campaigns: made from a file, looked at, started, followed as they go on, and stopped.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::{ENTER, ESCAPE, Window};
use crate::behaviour::console::with_users;
use crate::program::Program;
use crate::support::database::TestDatabase;

embedded!(
    a_file_becomes_a_campaign_that_is_followed_to_its_end,
    a_campaign_is_stopped_by_keys_and_a_second_operator_hears_of_it,
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

async fn an_approver_approves_what_the_dry_run_shows(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["settings", "set", "campaign_approval_over", "1"]).exits(0);
    let (maker, approver) = (Window::of(&served, Role::Operator), Window::of(&served, Role::Approver));
    maker.makes_campaign(&program, &[]);
    maker.until_says("#next-step", "Somebody else than its maker");
    maker.click("#dry-run");
    maker.until("#dry-run");
    assert!(!maker.shows("#start") && !maker.shows("#approve"));
    approver.go("/campaigns/1/dry-run");
    approver.click("#approve");
    approver.until_says("#facts", "given by approver");
    maker.go("/campaigns/1/dry-run");
    maker.click("#start");
    maker.until_says("#state", "is completed");
    maker.ends_clean();
    approver.ends_clean();
}
