//! The flow that the console is for: find an account, and disconnect it in the dialog.

use disconnectd::domain::token::Role;

use super::embedded;
use super::window::{DOWN, ENTER, ESCAPE, RIGHT, Window};
use crate::behaviour::both_pairs;
use crate::behaviour::console::with_users;
use crate::support::database::TestDatabase;

both_pairs!(an_account_is_found_and_disconnected_now);
embedded!(
    the_keyboard_alone_is_enough,
    what_a_date_means_is_shown_in_the_dialog,
    the_second_of_two_operators_sees_what_changed,
    a_charge_that_comes_meanwhile_is_shown_before_it_is_invoiced,
    choices_made_while_an_answer_is_on_its_way_are_kept,
    what_the_server_can_not_do_is_said_and_the_form_stays,
);

async fn an_account_is_found_and_disconnected_now(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    window.types("#search", "ben");
    window.until_gone("[data-account='1001']");
    assert_eq!(window.path(), "/accounts?search=ben&status=&group=&service=&event=&sort=", "it can be sent to others");
    window.click("[data-account='1002'] summary");
    window.click("[data-account='1002'] [data-window]");
    window.until_says("dialog #window-title", "Disconnect account 1002");
    window.until_says("dialog #overview", "Active → Inactive");
    assert_eq!(window.text("dialog #total"), "USD 21.54");
    window.types("dialog #reason", "moved");
    window.click("dialog #disconnect");

    window.until_says("#notice", "Account 1002 is disconnected. Its final invoice is");
    assert_eq!(window.text("#account-status"), "Inactive");
    assert_eq!(window.text("#disconnected"), "Disconnected");
    assert_eq!(window.text("#address"), "none");
    assert!(window.text("#uninvoiced").starts_with("Nothing"));
    window.click(".tabs a[href$='/invoices']");
    window.until_says("#invoices tbody tr", "Final");
    window.until_says("#invoices tbody tr", "USD 21.54");
    window.go("/accounts?service=disconnected");
    window.until_says("[data-account='1002']", "Inactive Disconnected");
    assert!(!window.shows("[data-account='1001']"));
    window.ends_clean();
}

async fn the_keyboard_alone_is_enough(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    window.go("/accounts/1002");
    window.until("#account-number");
    // The menu: opened, gone through and left by keys.
    window.tabs_to("Edit account 1002");
    window.press(DOWN);
    window.until_focused("Disconnect account");
    window.press(DOWN);
    window.until_focused("Invoices");
    window.press(ESCAPE);
    window.until_focused("Edit account 1002");
    assert!(!window.shows("details.menu ul"), "the menu is closed");
    // The dialog takes the focus, and gives it back.
    window.press(ENTER);
    window.until("details.menu ul");
    window.press(DOWN);
    window.press(ENTER);
    window.until_focused("#window-title");
    window.press(ESCAPE);
    window.until_gone("dialog");
    window.until_focused("Edit account 1002");
    assert_eq!(db.count("disconnect_events").await, 0);
    // And once more, to its end.
    window.press(DOWN);
    window.press(ENTER);
    window.until_focused("#window-title");
    window.tabs_to("Now");
    window.press(RIGHT);
    window.until_focused("#when-date");
    window.tabs_to("#date");
    window.press("12012099");
    window.until_says("#means", "12/01/2099");
    window.tabs_to("#reason");
    window.press("moved");
    // Enter in a field only shows; what can't be undone has a button of its own.
    window.press(ENTER);
    window.until_focused("#reason");
    assert_eq!(db.count("disconnect_events").await, 0);
    window.tabs_to("#disconnect");
    window.press(ENTER);
    window.until_says("#notice", "will be disconnected at 12/01/2099");
    assert_eq!(window.text("#account-status"), "Active");
    window.until_says("#open-event", "scheduled");
    window.ends_clean();
}

async fn what_a_date_means_is_shown_in_the_dialog(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    window.click("[data-account='1003'] summary");
    window.click("[data-account='1003'] [data-window]");
    window.types("dialog #reason", "moved");
    window.types("dialog #date", "12012099");
    window.until_says("dialog #means", "Europe/Berlin");
    window.types("dialog #date", "01012020");
    window.until_says("dialog #means", "01/01/2020");
    window.click("dialog #disconnect");
    window.until("dialog #date-error");
    assert_eq!(window.script("return document.getElementById('reason').value", &[]), "moved", "what was typed stays");
    window.types("dialog #date", "12012099");
    window.until_gone("dialog #date-error");
    window.click("dialog #disconnect");
    window.until_says("#notice", "will be disconnected at 12/01/2099");
    assert_eq!(db.count("disconnect_events").await, 1);
    window.ends_clean();
}

async fn the_second_of_two_operators_sees_what_changed(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let firsts = Window::with_and_without_javascript(&served, Role::Operator);
    let seconds = Window::with_and_without_javascript(&served, Role::Admin);
    for ((first, second), account) in firsts.into_iter().zip(seconds).zip(["1003", "1002"]) {
        let before = db.count("disconnect_events").await;
        for window in [&first, &second] {
            window.click(&format!("[data-account='{account}'] summary"));
            window.click(&format!("[data-account='{account}'] [data-window]"));
            window.until("#disconnect");
        }
        second.types("#reason", "theirs");
        first.types("#date", "12012099");
        if !first.has_javascript() {
            first.click("#when-date");
            first.click("#show");
        }
        first.until("#means");
        first.click("#disconnect");
        first.until("#notice");
        second.click("#disconnect");
        second.until_says("#stale", "has changed since this was shown");
        if second.has_javascript() {
            second.until_focused("#stale");
        }
        assert_eq!(db.count("disconnect_events").await, before + 1, "nothing was done");
        second.click("#disconnect");
        second.until_says("#notice", &format!("Account {account} is disconnected"));
        // The first looks again, and sees it.
        first.go(&format!("/accounts/{account}/log"));
        first.until_says("main", "theirs");
        assert_eq!(db.count("disconnect_events").await, before + 1, "it was brought forward");
        first.ends_clean();
        second.ends_clean();
    }
}

async fn a_charge_that_comes_meanwhile_is_shown_before_it_is_invoiced(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let windows = Window::with_and_without_javascript(&served, Role::Operator);
    for (window, account) in windows.into_iter().zip(["1002", "1003"]) {
        window.go(&format!("/accounts/{account}"));
        window.click(".head summary");
        window.click(".head [data-window]");
        let total = window.text("#total");
        window.types("#reason", "moved");
        let head = "account_number,reference,description,amount,tax,charged_on";
        program.write("late.csv", format!("{head}\n{account},late,A late charge,5.00,0.00,2026-11-20\n"));
        program.run(&["import", "debits", "late.csv"]).exits(0);
        window.click("#disconnect");
        window.until_says("#stale li", "5.00");
        window.until_says("#disconnect-window", "A late charge");
        assert_ne!(window.text("#total"), total, "it shows what is true now");
        assert_eq!(window.value("#reason"), "moved", "what was typed stays");
        assert!(program.json(&["accounts", "show", account])["disconnected_at"].is_null(), "nothing was done");
        window.click("#disconnect");
        window.until_says("#notice", &format!("Account {account} is disconnected. Its final invoice is"));
        window.ends_clean();
    }
}

async fn choices_made_while_an_answer_is_on_its_way_are_kept(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["accounts", "link", "1003", "--parent", "1001"]).exits(0);
    let window = Window::of(&served, Role::Operator);
    window.click("[data-account='1001'] summary");
    window.click("[data-account='1001'] [data-window]");
    window.until("dialog #disconnect");
    // As fast as no hand is, and each asks the server.
    window.script(
        "for (const id of ['child-1002-disconnect', 'child-1002-keep', 'child-1003-disconnect']) document.getElementById(id).click(); \
         document.getElementById('reason').value = 'moved';",
        &[],
    );
    window.until("dialog #child-1003-on");
    let chosen =
        "return [...document.querySelectorAll('dialog [name^=\"child:\"]:checked')].map((choice) => choice.id).join()";
    assert_eq!(window.script(chosen, &[]), "child-1002-keep,child-1003-disconnect");
    assert_eq!(window.script("return document.getElementById('reason').value", &[]), "moved");
    assert!(!window.shows("dialog #child-1002-on"));
    window.click("dialog #disconnect");
    window.until_says("#notice", "Account 1001 is disconnected");
    assert_eq!(program.json(&["accounts", "show", "1002"])["disconnected_at"], serde_json::Value::Null);
    window.ends_clean();
}

async fn what_the_server_can_not_do_is_said_and_the_form_stays(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let window = Window::of(&served, Role::Operator);
    // A list that is refused stays as it is.
    window.go("/events");
    window.until("#events-found");
    window.types("#campaign", "abc");
    window.press(ENTER);
    window.until_says("#trouble", "the number of a campaign");
    assert!(window.find("#events-found").is_some());
    window.types("#campaign", "");
    window.press(ENTER);
    window.until_gone("#trouble");
    // A server that is gone is told, and what was typed is there still.
    window.go("/accounts");
    window.click("[data-account='1003'] summary");
    window.click("[data-account='1003'] [data-window]");
    window.types("dialog #reason", "moved");
    served.signal("TERM");
    served.ended();
    window.click("dialog #disconnect");
    window.until_says("dialog #trouble", "The server can't be reached");
    assert_eq!(window.script("return document.getElementById('reason').value", &[]), "moved");
    assert_eq!(db.count("disconnect_events").await, 0);
}
