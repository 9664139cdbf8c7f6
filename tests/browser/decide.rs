//! What becomes of the children: in the disconnect window, and later where a family has changed.

use disconnectd::domain::token::Role;
use serde_json::Value;

use super::embedded;
use super::window::{DOWN, Window};
use crate::behaviour::console::events::scheduled;
use crate::behaviour::console::with_users;
use crate::program::Program;
use crate::support::database::TestDatabase;

embedded!(
    each_child_is_decided_about_in_the_window,
    whoever_is_at_one_of_many_children_stays_at_it,
    a_family_that_changed_is_decided_about_later,
);

async fn whoever_is_at_one_of_many_children_stays_at_it(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups";
    let children = (0..110).map(|n| format!("K-{n:03},Kid,Active,1003,EUR,,,k{n}@example.com,,\n"));
    program.write("kids.csv", format!("{head}\n{}", children.collect::<String>()));
    program.run(&["import", "accounts", "kids.csv"]).exits(0);
    let window = Window::of(&served, Role::Operator);
    window.click("[data-account='1003'] summary");
    window.click("[data-account='1003'] [data-window]");
    window.types("dialog #find", "K-00");
    window.click("dialog #find-children");
    // Each choice is asked about; where the next key goes to is the same child still.
    window.click("#child-K-007-as-all");
    let chosen = "return [...document.querySelectorAll('dialog [name^=\"child:\"]:checked')].map((choice) => choice.id) \
                  .filter((id) => !id.endsWith('as-all')).join()";
    for (key, id) in [(DOWN, "child-K-007-keep"), (DOWN, "child-K-007-disconnect"), (DOWN, "child-K-007-unlink")] {
        window.press(key);
        window.until(&format!("#{id}:focus:checked"));
        // The answer is there once the button may be pressed again.
        window.until("dialog #disconnect:enabled");
        assert_eq!(window.script(chosen, &[]), id);
    }
    window.ends_clean();
}

/// A child comes into a family.
fn comes(program: &Program, number: &str, parent: &str) {
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups";
    let child = format!("{number},Eve Miller,Active,{parent},USD,,,eve{number}@example.com,,");
    program.write("comes.csv", format!("{head}\n{child}\n"));
    program.run(&["import", "accounts", "comes.csv"]).exits(0);
}

async fn each_child_is_decided_about_in_the_window(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    comes(&program, "1004", "1001");
    comes(&program, "1005", "1001");
    comes(&program, "1006", "1002");
    let window = Window::of(&served, Role::Operator);
    window.click("[data-account='1001'] summary");
    window.click("[data-account='1001'] [data-window]");
    // Nobody decides by not looking.
    window.click("dialog #disconnect");
    window.until_says("dialog #children-error", "1002 (Ben Miller), 1004 (Eve Miller), 1005");
    window.until_focused("#children-error");
    // Without a contact of its own, a child can't stand alone.
    window.click("#child-1002-unlink");
    window.click("dialog #others option[value='keep']");
    window.click("dialog #disconnect");
    window.until_says("dialog #children-error", "1002");
    // One that goes too is asked a date, and its own children are asked about.
    window.click("#child-1002-disconnect");
    window.until("#child-1002-on");
    window.until_says("dialog #children", "under 1002");
    window.types("#child-1002-on", "12242099");
    window.click("#child-1004-unlink");
    window.types("dialog #date", "12012099");
    window.until("dialog #means");
    window.until("#child-1002-disconnect:checked");
    assert_eq!(window.value("#child-1002-on"), "2099-12-24", "what was chosen stays");
    window.until("#child-1004-unlink:checked");
    assert_eq!(db.count("disconnect_events").await, 0, "so far it was only shown");
    window.click("dialog #disconnect");
    window.until_says("#notice", "will be disconnected at 12/01/2099");
    let planned =
        |number: &str| program.json(&["events", "list", "--account", number])["items"][0]["planned_for"].clone();
    assert_eq!((planned("1001"), planned("1002")), ("2099-12-01".into(), "2099-12-24".into()));
    let parent = |number: &str| program.json(&["accounts", "show", number])["parent_number"].clone();
    assert_eq!((parent("1004"), parent("1005"), parent("1006")), (Value::Null, "1001".into(), "1002".into()));
    assert_eq!(db.count("disconnect_events").await, 2, "1005 and 1006 are kept");
    window.ends_clean();
}

async fn a_family_that_changed_is_decided_about_later(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1001", "2099-12-01");
    let children = [["1004", "1005"], ["1006", "1007"]];
    for (window, [asked, meanwhile]) in
        Window::with_and_without_javascript(&served, Role::Operator).into_iter().zip(children)
    {
        comes(&program, asked, "1001");
        window.go("/events");
        window.click(".tabs a[href$='to_decide']");
        window.click(&format!("[data-event='{event}'] th a"));
        window.until_says("#to-decide", asked);
        window.click("#to-decide a");
        window.until_says("#window-title", &format!("Decide about the family of event {event}"));
        window.click("#confirm");
        window.until("#children-error");
        window.click("#others option[value='keep']");
        // Nobody decides about a child that was not shown.
        comes(&program, meanwhile, "1001");
        window.click("#confirm");
        window.until_says("#form-error", "The family has changed since this was shown");
        window.until_says("#change-window", meanwhile);
        window.click("#others option[value='']");
        window.types("#child", meanwhile);
        window.click("#choice option[value='unlink']");
        window.click("#confirm");
        window.until_says("#notice", "What was decided about the family is kept.");
        let moved = program.json(&["accounts", "show", meanwhile]);
        assert_eq!(moved["parent_number"], Value::Null, "{moved}");
        // The other one is in question still, and is asked about from the list.
        window.until_says("#to-decide", asked);
        window.click(".head summary");
        window.click(".head a[href$='/decide']");
        window.click("#others option[value='keep']");
        window.click("#confirm");
        window.until_gone("#window-title");
        window.until_gone("#to-decide");
        window.go("/events?state=to_decide");
        window.until_says("main", "There is no family to decide about here.");
        window.ends_clean();
    }
}
