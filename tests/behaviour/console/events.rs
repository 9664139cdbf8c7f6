//! Events, without JavaScript: the list, the calendar, and changes of plan.

use disconnectd::domain::token::Role;

use super::{Browser, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::program::Program;
use crate::support::database::TestDatabase;

both_pairs!(
    events_are_listed_and_shown,
    an_event_is_cancelled_rescheduled_and_not_twice,
    events_of_children_are_asked_about,
    a_family_that_changed_is_decided_about,
    what_failed_is_told_and_retried,
    a_month_counts_what_is_due_on_each_day,
);

/// The event of an account for a date.
pub fn scheduled(program: &Program, number: &str, on: &str) -> String {
    program.run(&["schedule", number, "--on", on, "--children", "keep", "--yes"]).exits(0);
    let events = program.json(&["events", "list", "--account", number]);
    events["items"][0]["id"].to_string()
}

/// The same, failed for good.
pub async fn failed(db: &TestDatabase, program: &Program, number: &str) -> String {
    let event = scheduled(program, number, "2099-12-01");
    db.sql(&format!(
        "update disconnect_events set state = 'failed', next_at = null, ended_at = created_at, failures = 5,
                last_error = 'the <till> is shut' where id = {event}"
    ))
    .await;
    event
}

async fn events_are_listed_and_shown(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut viewer = Browser::of(&served, Role::Viewer);
    assert!(text_of(&viewer.page("/events")).contains("There are no events yet."), "it says what to do");
    let (one, two) = (scheduled(&program, "1002", "2099-12-01"), scheduled(&program, "1003", "2099-12-24"));
    for (query, found) in [
        ("", vec![&two, &one]),
        ("?search=ben", vec![&one]),
        ("?account=1003", vec![&two]),
        ("?state=scheduled&from=2099-12-02", vec![&two]),
        ("?from=2099-12-01&to=2099-12-01", vec![&one]),
        ("?state=coming", vec![&one, &two]),
        ("?state=failed", vec![]),
        ("?campaign=7", vec![]),
        ("?state=to_decide", vec![]),
    ] {
        let page = viewer.page(&format!("/events{query}"));
        let ids: Vec<_> = page.split("data-event=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(ids, found, "{query}");
    }
    for query in ["?campaign=x", "?from=tomorrow", "?after=x", "?search=%00"] {
        viewer.get(&format!("/events{query}")).is(422);
    }
    let event = viewer.page(&format!("/events/{one}"));
    let text = text_of(&event);
    for part in ["Ben Miller", "12/01/2099 00:00 America/New_York (UTC-05:00)", "12/01/2099 05:00 UTC", "scheduled"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!event.contains("/cancel\""), "a viewer is not shown what a viewer may not");
    let operator = Browser::of(&served, Role::Operator).page(&format!("/events/{one}"));
    assert!(operator.contains("/cancel\"") && operator.contains("/reschedule\"") && !operator.contains("/retry\""));
}

async fn an_event_is_cancelled_rescheduled_and_not_twice(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1002", "2099-12-01");
    let mut browser = Browser::of(&served, Role::Operator);
    let path = format!("/events/{event}/reschedule");
    let window = text_of(&browser.page(&path));
    assert!(window.contains(&format!("Reschedule event {event}")) && window.contains("1002 Ben Miller"), "{window}");
    let new =
        |step: &'static str| [("date", "2099-12-24"), ("time", "09:30"), ("zone", "Europe/Berlin"), ("step", step)];
    let shown = text_of(&browser.post(&path, &new("show")).is(200).text());
    for part in ["That is 12/24/2099 09:30 Europe/Berlin (UTC+01:00)", "or 12/24/2099 08:30 UTC"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for (field, value, id) in
        [("date", "", "date-error"), ("date", "1999-01-01", "date-error"), ("zone", "Nowhere", "zone-error")]
    {
        let mut fields = vec![(field, value), ("step", "confirm")];
        if field != "date" {
            fields.push(("date", "2099-01-01"));
        }
        let refused = browser.post(&path, &fields).is(422).text();
        assert!(refused.contains(&format!("id=\"{id}\"")), "{field}={value}: {refused}");
    }
    assert_eq!(program.json(&["events", "show", &event])["due_at"], "2099-12-01T05:00:00Z", "nothing was done");
    let to = browser.post(&path, &new("confirm")).is(303).header("location").unwrap().to_owned();
    let moved = text_of(&browser.page(&to));
    assert!(moved.contains("is moved: account 1002 will be disconnected at 12/24/2099"), "{moved}");
    assert_eq!(program.json(&["events", "show", &event])["due_at"], "2099-12-24T08:30:00Z");

    let path = format!("/events/{event}/cancel");
    browser.page(&path);
    let to = browser.post(&path, &[("reason", "they paid <all>")]).is(303).header("location").unwrap().to_owned();
    assert!(text_of(&browser.page(&to)).contains("is cancelled. Account 1002 keeps its service."));
    let again = browser.post(&path, &[]).is(422).text();
    assert!(text_of(&again).contains("be cancelled: it was cancelled"), "{again}");
    assert!(browser.page("/accounts/1002/log").contains("they paid &#60;all&#62;"));
    let log = program.json(&["log", "1002"]);
    let cancelled = log["items"].as_array().unwrap().iter().find(|entry| entry["kind"] == "cancelled").unwrap();
    assert_eq!((&cancelled["actor"], &cancelled["source"]), (&"operator".into(), &"console".into()));
    browser.get("/events/999999/cancel").is(404);
    browser.get(&format!("/events/{event}/explode")).is(404);
}

async fn events_of_children_are_asked_about(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["schedule", "1001", "--on", "2099-12-01", "--children", "disconnect", "--yes"]).exits(0);
    let of = |number: &str| program.json(&["events", "list", "--account", number])["items"][0].clone();
    let (parent, child) = (of("1001")["id"].to_string(), of("1002")["id"].to_string());
    let mut browser = Browser::of(&served, Role::Operator);
    let path = format!("/events/{parent}/cancel");
    assert!(browser.page(&path).contains("name=\"children\""));
    let asked = browser.post(&path, &[]).is(422).text();
    assert!(asked.contains("id=\"children-error\"") && asked.contains("of 1002"), "{asked}");
    browser.post(&path, &[("children", "leave")]).is(303);
    assert_eq!((&of("1001")["state"], &of("1002")["state"]), (&"cancelled".into(), &"scheduled".into()));
    assert!(text_of(&browser.page(&format!("/events/{child}"))).contains(&format!("its parent's event {parent}")));
}

async fn what_failed_is_told_and_retried(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = failed(db, &program, "1002").await;
    let mut browser = Browser::of(&served, Role::Operator);
    let list = browser.page("/events?state=failed");
    assert!(list.contains("the &#60;till&#62; is shut") && list.contains(&format!("/events/{event}/retry")), "{list}");
    let page = text_of(&browser.page(&format!("/events/{event}")));
    assert!(page.contains("It failed 5 times") && page.contains("The last time: the"), "{page}");
    let path = format!("/events/{event}/retry");
    assert!(text_of(&browser.page(&path)).contains("1002 Ben Miller"));
    let to = browser.post(&path, &[]).is(303).header("location").unwrap().to_owned();
    assert!(browser.page(&to).contains("id=\"notice\""));
    let again = text_of(&browser.post(&path, &[]).is(422).text());
    assert!(again.contains("only a failed event can be retried"), "{again}");
}

async fn a_month_counts_what_is_due_on_each_day(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let (one, _) =
        (scheduled(&program, "1002", "2099-12-01T12:00:00Z"), scheduled(&program, "1003", "2099-12-01T13:00:00Z"));
    program.run(&["events", "cancel", &one]).exits(0);
    let mut browser = Browser::of(&served, Role::Viewer);
    let month = browser.page("/events/calendar?month=2099-12");
    let day = month.split("data-day=\"2099-12-01\"").nth(1).unwrap().split("</td>").next().unwrap();
    let text = text_of(&format!("<td{day}"));
    assert!(text.contains("1 scheduled") && text.contains("1 cancelled"), "{text}");
    assert!(day.contains("href=\"/events?from=2099-12-01&#38;to=2099-12-01&#38;state=scheduled\""), "{day}");
    assert!(text_of(&month).contains("December 2099") && month.contains("month=2100-01"), "{month}");
    let listed = browser.page("/events?from=2099-12-01&to=2099-12-01&state=scheduled");
    assert_eq!(listed.matches("data-event=").count(), 1);
    assert!(text_of(&browser.page("/events/calendar")).contains("Nothing is due in these weeks"));
    browser.get("/events/calendar?month=x").is(422);
}

async fn a_family_that_changed_is_decided_about(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let event = scheduled(&program, "1001", "2099-12-01");
    program.run(&["accounts", "link", "1003", "--parent", "1001"]).exits(0);
    let mut browser = Browser::of(&served, Role::Operator);
    assert!(browser.page("/events?state=to_decide").contains(&format!("data-event=\"{event}\"")));
    let page = browser.page(&format!("/events/{event}"));
    assert!(page.contains("id=\"to-decide\"") && page.contains("1003"), "{page}");
    let path = format!("/events/{event}/decide");
    let seen = hidden(&browser.page(&path), "questions").unwrap();
    let undecided = browser.post(&path, &[("questions", &seen)]).is(422).text();
    assert!(undecided.contains("id=\"children-error\""), "{undecided}");
    let stranger = browser.post(&path, &[("child", "9999"), ("choice", "keep"), ("questions", &seen)]).is(422).text();
    assert!(stranger.contains("id=\"children-error\""), "{stranger}");
    // Nobody has seen the child that comes into the family meanwhile.
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups";
    program.write("eve.csv", format!("{head}\n1009,Eve Miller,Active,1001,USD,,,eve@example.com,,\n"));
    program.run(&["import", "accounts", "eve.csv"]).exits(0);
    let moved = browser.post(&path, &[("others", "disconnect"), ("questions", &seen)]).is(422).text();
    assert!(moved.contains("The family has changed since this was shown"), "{moved}");
    let seen = hidden(&moved, "questions").unwrap();
    browser.post(&path, &[("others", "keep"), ("questions", &seen)]).is(303);
    assert!(!browser.page(&format!("/events/{event}")).contains("id=\"to-decide\""));
    let nothing = browser.post(&path, &[("others", "keep")]).is(422).text();
    assert!(text_of(&nothing).contains("There is nothing to decide"), "{nothing}");
}
