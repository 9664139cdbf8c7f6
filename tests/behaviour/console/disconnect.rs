//! The disconnect window, without JavaScript.

use disconnectd::domain::token::Role;
use disconnectd::domain::trace::TraceParent;

use super::{Browser, form, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::support::collector::{Collector, Look};
use crate::support::database::TestDatabase;

both_pairs!(
    an_account_is_disconnected_now,
    an_account_is_disconnected_at_a_date,
    what_a_date_means_is_shown_first,
    what_moved_meanwhile_is_shown_and_asked_again,
    what_is_wrong_is_said_where_it_belongs,
    each_child_has_its_choice,
    a_child_has_a_date_of_its_own,
    a_date_beside_now_is_asked_about,
    what_is_shown_anew_says_what_moved,
    htmx_gets_a_part_and_is_led_on,
    what_stands_in_the_way_is_told_to_a_person,
    its_trace_begins_with_the_form,
);

async fn an_account_is_disconnected_now(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1002/disconnect");
    let text = text_of(&window);
    for part in [
        "Disconnect account 1002",
        "Ben Miller",
        "Active → Inactive",
        "12 Elm Street",
        "USD 21.54",
        "ada@example.com, through 1001, Ada Miller",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let digest = hidden(&window, "digest").unwrap();
    let fields = [("when", "now"), ("reason", "moved"), ("step", "confirm"), ("digest", digest.as_str())];
    let to = browser.post("/accounts/1002/disconnect", &fields).is(303).header("location").unwrap().to_owned();
    let account = text_of(&browser.page(&to));
    assert!(account.contains("Account 1002 is disconnected. Its final invoice is"), "{account}");
    assert!(account.contains("Inactive Disconnected since"), "{account}");
    assert!(account.contains("Address none"), "{account}");
    assert!(text_of(&browser.page("/accounts/1002/invoices")).contains("Final"));
    let log = program.json(&["log", "1002"]);
    let entry = log["items"].as_array().unwrap().iter().find(|entry| entry["kind"] == "scheduled").unwrap();
    assert_eq!((&entry["actor"], &entry["source"]), (&"operator".into(), &"console".into()));
    // Again, from a page that was left open: nothing happens twice.
    let again = browser.post("/accounts/1002/disconnect", &fields).is(303).header("location").unwrap().to_owned();
    assert_eq!(again, to);
    assert_eq!(db.count("disconnect_events").await, 1);
}

async fn its_trace_begins_with_the_form(db: &TestDatabase) {
    let collector = Collector::start().await;
    let (program, served) = with_users(db).await;
    drop(served);
    let served = collector.traces(program).serve(&[]);
    served.until_ready_is(200);
    let mut browser = Browser::of(&served, Role::Operator);
    let digest = hidden(&browser.page("/accounts/1002/disconnect"), "digest").unwrap();
    let fields = [("when", "now"), ("reason", "moved"), ("step", "confirm"), ("digest", digest.as_str())];
    browser.post("/accounts/1002/disconnect", &fields).is(303);
    let kept = db.texts("select traceparent from disconnect_events").await;
    let asked = TraceParent::parse(&kept[0]).unwrap();
    let spans = collector.until(asked.trace_id, 4).await;
    let form = spans.iter().find(|span| span.name == "POST /accounts/{number}/disconnect").unwrap();
    assert_eq!(form.context(), asked);
    let disconnect = spans.iter().find(|span| span.name == "disconnect").unwrap();
    let publish = spans.iter().find(|span| disconnect.is_child_of(span)).unwrap();
    assert_eq!((publish.name.as_str(), &publish.parent_span_id[..]), ("publish", &asked.span_id.to_be_bytes()[..]));
    collector.holds_none_of(&["1002", "Miller", "operator", "moved", &digest]);
}

async fn an_account_is_disconnected_at_a_date(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1003/disconnect");
    let digest = hidden(&window, "digest").unwrap();
    let fields = [
        ("when", "date"),
        ("date", "2099-12-01"),
        ("time", "09:30"),
        ("zone", "Europe/Berlin"),
        ("step", "confirm"),
        ("digest", digest.as_str()),
    ];
    let to = browser.post("/accounts/1003/disconnect", &fields).is(303).header("location").unwrap().to_owned();
    let account = text_of(&browser.page(&to));
    assert!(account.contains("will be disconnected at 12/01/2099 09:30 Europe/Berlin (UTC+01:00)"), "{account}");
    let events = program.json(&["events", "list", "--account", "1003"]);
    assert_eq!(events["items"][0]["due_at"], "2099-12-01T08:30:00Z");
    assert_eq!(events["items"][0]["planned_for"], "2099-12-01T09:30");
    assert!(text_of(&browser.page("/accounts/1003/events")).contains("2099-12-01T09:30 in Europe/Berlin"));
    assert!(browser.page("/accounts?event=open").contains("data-account=\"1003\""));
}

async fn what_a_date_means_is_shown_first(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/accounts/1002/disconnect");
    let fields = [("when", "date"), ("date", "2099-12-01"), ("zone", ""), ("reason", "moved"), ("step", "show")];
    let shown = browser.post("/accounts/1002/disconnect", &fields).is(200).text();
    let text = text_of(&shown);
    assert!(text.contains("That is 12/01/2099 00:00 America/New_York (UTC-05:00)"), "{text}");
    assert!(text.contains("12/01/2099 05:00 UTC"), "{text}");
    assert!(shown.contains("value=\"2099-12-01\"") && shown.contains("value=\"moved\""), "what was typed stays");
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn what_moved_meanwhile_is_shown_and_asked_again(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1003/disconnect");
    let digest = hidden(&window, "digest").unwrap();
    program.write(
        "more.csv",
        "account_number,reference,description,amount,tax,charged_on\n1003,late,A late charge,5.00,0.00,2026-11-20\n",
    );
    program.run(&["import", "debits", "more.csv"]).exits(0);
    let fields = [("when", "now"), ("reason", "moved"), ("step", "confirm"), ("digest", digest.as_str())];
    let stale = browser.post("/accounts/1003/disconnect", &fields).is(409).text();
    assert!(stale.contains("id=\"stale\"") && stale.contains("has changed since this was shown"), "{stale}");
    assert!(text_of(&stale).contains("A late charge"), "it shows what is true now");
    assert!(stale.contains("value=\"moved\""), "what was typed stays");
    assert_eq!(db.count("disconnect_events").await, 0);
    let digest = hidden(&stale, "digest").unwrap();
    let fields = [("when", "now"), ("step", "confirm"), ("digest", digest.as_str())];
    browser.post("/accounts/1003/disconnect", &fields).is(303);
    browser.page("/accounts/1002/disconnect");
    let without = [("when", "now"), ("step", "confirm")];
    browser.post("/accounts/1002/disconnect", &without).is(422);
    assert_eq!(db.count("disconnect_events").await, 1, "nobody agrees to what was not shown");
}

async fn what_is_wrong_is_said_where_it_belongs(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1003/disconnect");
    let digest = hidden(&window, "digest").unwrap();
    let long = "x".repeat(1_001);
    for (field, value, id) in [
        ("date", "", "date-error"),
        ("date", "2026-02-30", "date-error"),
        ("date", "1999-01-01", "date-error"),
        ("zone", "Europe/Nowhere", "zone-error"),
        ("reason", long.as_str(), "reason-error"),
    ] {
        let mut fields = vec![("when", "date"), ("step", "confirm"), ("digest", digest.as_str()), (field, value)];
        if field != "date" {
            fields.push(("date", "2099-01-01"));
        }
        let page = browser.post("/accounts/1003/disconnect", &fields).is(422).text();
        assert!(page.contains(&format!("id=\"{id}\"")), "{field}={value}: {page}");
    }
    assert_eq!(db.count("disconnect_events").await, 0);
    // A date in the past that is meant.
    let late =
        [("when", "date"), ("date", "2026-01-01"), ("late", "yes"), ("step", "confirm"), ("digest", digest.as_str())];
    browser.post("/accounts/1003/disconnect", &late).is(303);
}

async fn each_child_has_its_choice(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1001/disconnect");
    assert!(window.contains("name=\"child:1002\""), "{window}");
    let digest = hidden(&window, "digest").unwrap();
    let confirm = |choice: &'static str| {
        let mut fields = vec![("when", "now"), ("step", "confirm")];
        if !choice.is_empty() {
            fields.push(("child:1002", choice));
        }
        fields
    };
    let mut fields = confirm("");
    fields.push(("digest", &digest));
    let undecided = browser.post("/accounts/1001/disconnect", &fields).is(422).text();
    assert!(undecided.contains("id=\"children-error\"") && undecided.contains("1002"), "{undecided}");
    let mut fields = confirm("unlink");
    fields.push(("digest", &digest));
    let without = browser.post("/accounts/1001/disconnect", &fields).is(422).text();
    assert!(without.contains("id=\"children-error\"") && without.contains("neither an email"), "{without}");
    assert_eq!(db.count("disconnect_events").await, 0);
    let mut fields = confirm("disconnect");
    fields.push(("digest", &digest));
    browser.post("/accounts/1001/disconnect", &fields).is(303);
    for number in ["1001", "1002"] {
        program.run(&["disconnect", number, "--yes"]).exits(0);
        let account = program.json(&["accounts", "show", number]);
        assert!(account["disconnected_at"].is_string(), "{account}");
    }
    assert_eq!(db.count("disconnect_events").await, 2);
}

async fn a_child_has_a_date_of_its_own(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let window = browser.page("/accounts/1001/disconnect");
    assert!(!window.contains("name=\"on:1002\""), "it is asked for where it matters");
    let choice = [("when", "date"), ("date", "2099-12-01"), ("child:1002", "disconnect"), ("on:1002", "2099-12-24")];
    let shown = browser.post("/accounts/1001/disconnect", &[&choice[..], &[("step", "show")]].concat()).is(200).text();
    assert!(shown.contains("name=\"on:1002\" type=\"date\" value=\"2099-12-24\""), "{shown}");
    let digest = hidden(&shown, "digest").unwrap();
    let fields = [&choice[..], &[("step", "confirm"), ("digest", &digest)]].concat();
    browser.post("/accounts/1001/disconnect", &fields).is(303);
    for (number, planned) in [("1001", "2099-12-01"), ("1002", "2099-12-24")] {
        let event = program.json(&["events", "list", "--account", number])["items"][0].clone();
        assert_eq!(event["planned_for"], planned, "{event}");
    }
}

async fn a_date_beside_now_is_asked_about(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let digest = hidden(&browser.page("/accounts/1003/disconnect"), "digest").unwrap();
    // Without a script nothing chooses the date for whoever types one.
    let fields = [("when", "now"), ("date", "2099-12-01"), ("step", "confirm"), ("digest", digest.as_str())];
    let page = browser.post("/accounts/1003/disconnect", &fields).is(422).text();
    assert!(page.contains("id=\"date-error\"") && page.contains("Now is chosen"), "{page}");
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn what_is_shown_anew_says_what_moved(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let digest = hidden(&browser.page("/accounts/1001/disconnect"), "digest").unwrap();
    program.write(
        "late.csv",
        "account_number,reference,description,amount,tax,charged_on\n1001,late,Late fee,500.00,0.00,2026-11-20\n",
    );
    program.run(&["import", "debits", "late.csv"]).exits(0);
    // A choice is made meanwhile: the form comes again, and with it a new digest.
    for step in ["show", "confirm"] {
        let fields = [("when", "now"), ("others", "keep"), ("step", step), ("digest", digest.as_str())];
        let page = browser.post("/accounts/1001/disconnect", &fields).is(409).text();
        assert!(page.contains("id=\"stale\"") && text_of(&page).contains("640.62"), "{step}: {page}");
    }
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn htmx_gets_a_part_and_is_led_on(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/accounts");
    let path = "/accounts/1003/disconnect";
    let part = browser.request("GET", path).header("HX-Request", "true").answer().is(200).text();
    assert!(part.contains("id=\"disconnect-form\"") && !part.contains("<html"), "{part}");
    let whole = browser.request("GET", path).header("HX-Request", "true").header("HX-History-Restore-Request", "true");
    assert!(whole.answer().is(200).text().contains("<html"));
    let digest = hidden(&part, "digest").unwrap();
    let request = browser.request("POST", path).header("HX-Request", "true");
    let fields = [("form_key", browser.form_key.as_str()), ("when", "now"), ("step", "confirm"), ("digest", &digest)];
    let done = form(request, &fields).answer().is(204);
    assert!(done.header("hx-redirect").unwrap().starts_with("/accounts/1003?done="), "{done:?}");
}

async fn what_stands_in_the_way_is_told_to_a_person(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["schedule", "1002", "--on", "2099-12-01", "--zone", "America/New_York", "--yes"]).exits(0);
    let mut browser = Browser::of(&served, Role::Operator);
    let window = text_of(&browser.page("/accounts/1002/disconnect"));
    let due = "12/01/2099 00:00 America/New_York (UTC-05:00)";
    assert!(window.contains(&format!("Event 1 is scheduled for {due} already")), "{window}");
    let digest = hidden(&browser.page("/accounts/1002/disconnect"), "digest").unwrap();
    let fields = [("when", "date"), ("date", "2099-12-24"), ("step", "confirm"), ("digest", &digest)];
    let refused = text_of(&browser.post("/accounts/1002/disconnect", &fields).is(422).text());
    assert!(refused.contains(&format!("has event 1 already, for {due}")), "{refused}");

    program.run(&["disconnect", "1003", "--yes"]).exits(0);
    let gone = text_of(&browser.page("/accounts/1003/disconnect"));
    assert!(gone.contains("1003 has been disconnected since") && !gone.contains("00Z"), "{gone}");
    db.sql("update settings set value = 'Gone' where key = 'disconnect_status'").await;
    let window = text_of(&browser.page("/accounts/1001/disconnect"));
    assert!(window.contains("The disconnect status `Gone` is not among the account statuses"), "{window}");
    for page in [refused, gone, window] {
        assert!(!page.contains("disconnectd settings") && !page.contains("T05:00:00Z"), "{page}");
    }
}
