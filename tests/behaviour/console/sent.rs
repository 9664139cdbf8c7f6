//! A form that is sent twice, as by a double click where no script disables the button, is carried out once.

use disconnectd::domain::token::Role;

use super::{Browser, form, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::http::Answer;
use crate::support::database::TestDatabase;

both_pairs!(
    a_double_click_makes_one_campaign,
    a_double_click_makes_one_token_and_shows_it,
    a_double_click_on_a_sign_in_link_signs_in,
    a_double_click_on_a_command_is_no_error,
    a_double_click_on_what_is_refused_is_told_the_same,
    the_same_form_of_a_page_that_was_loaded_again_is_another_one,
);

impl Browser<'_> {
    /// Sends the same form from the same page so many times at once.
    fn clicks(&self, path: &str, fields: &[(&str, &str)], times: usize) -> Vec<Answer> {
        let fields = [&[("form_key", self.form_key.as_str())], fields].concat();
        std::thread::scope(|scope| {
            let clicks: Vec<_> =
                (0..times).map(|_| scope.spawn(|| form(self.request("POST", path), &fields).answer())).collect();
            clicks.into_iter().map(|click| click.join().unwrap()).collect()
        })
    }
}

const CAMPAIGN: [(&str, &str); 3] = [("name", "Spring"), ("where", "status = Active"), ("children", "keep")];

async fn a_double_click_makes_one_campaign(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/campaigns/new");
    let answers = browser.clicks("/campaigns/new", &CAMPAIGN, 4);
    let places: Vec<_> =
        answers.into_iter().map(|answer| answer.is(303).header("location").unwrap().to_owned()).collect();
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert_eq!(db.count("campaigns").await, 1);
}

async fn a_double_click_makes_one_token_and_shows_it(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let before = db.count("tokens").await;
    let mut browser = Browser::of(&served, Role::Admin);
    browser.page("/system/tokens");
    let answers = browser.clicks("/system/tokens", &[("name", "billing"), ("role", "viewer")], 3);
    let token = |page: &str| page.split("id=\"token\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let tokens: Vec<_> = answers.into_iter().map(|answer| token(&answer.is(200).text())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "whichever answer the browser shows");
    assert_eq!(db.count("tokens").await, before + 1);
    served.bare_request("GET", "/api/v1/accounts").token(&tokens[0]).answer().is(200);
}

async fn a_double_click_on_a_sign_in_link_signs_in(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let link = program.json(&["users", "link", "approver"]);
    let secret = link["url"].as_str().unwrap().split_once('=').unwrap().1.to_owned();
    let mut browser = Browser::new(&served);
    browser.page(&format!("/sign-in/link?secret={secret}"));
    for answer in browser.clicks("/sign-in/link", &[("secret", &secret)], 2) {
        browser.takes(answer.is(303));
        assert!(browser.page("/accounts").contains("approver"), "whichever answer the browser shows");
    }
    browser.page(&format!("/sign-in/link?secret={secret}"));
    browser.post("/sign-in/link", &[("secret", &secret)]).is(401);
}

async fn a_double_click_on_a_command_is_no_error(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/accounts/1003/disconnect");
    let fields = [("when", "date"), ("date", "2999-01-01"), ("step", "show")];
    let shown = browser.post("/accounts/1003/disconnect", &fields).is(200).text();
    let digest = super::hidden(&shown, "digest").unwrap();
    let fields = [("when", "date"), ("date", "2999-01-01"), ("step", "confirm"), ("digest", &digest)];
    for answer in browser.clicks("/accounts/1003/disconnect", &fields, 2) {
        answer.is(303);
    }
    assert_eq!(db.count("disconnect_events").await, 1);
    let events = browser.page("/events");
    let id = events.split("href=\"/events/").find_map(|rest| rest.split('"').next()?.parse::<i64>().ok()).unwrap();
    browser.page(&format!("/events/{id}/cancel"));
    for answer in browser.clicks(&format!("/events/{id}/cancel"), &[], 2) {
        answer.is(303);
    }
    // What is refused is told, however often.
    browser.page("/accounts/1003/disconnect");
    for _ in 0..2 {
        let again = browser.post(&format!("/events/{id}/cancel"), &[]);
        assert!(again.status >= 400 && text_of(&again.text()).contains("cancelled"), "{again:?}");
    }
}

async fn a_double_click_on_what_is_refused_is_told_the_same(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = "/accounts/1003/disconnect";
    let digest = super::hidden(&browser.page(path), "digest").unwrap();
    program.write(
        "late.csv",
        "account_number,reference,description,amount,tax,charged_on\n1003,late,A late charge,5.00,0.00,2026-11-20\n",
    );
    program.run(&["import", "debits", "late.csv"]).exits(0);
    let stale = [("when", "now"), ("step", "confirm"), ("digest", digest.as_str())];
    // Nothing is there to be cancelled.
    for (path, fields, status) in [(path, &stale[..], 409), ("/events/7/cancel", &[], 404)] {
        let answers: Vec<_> = browser.clicks(path, fields, 3).into_iter().map(|answer| answer.is(status)).collect();
        for answer in answers {
            let text = text_of(&answer.text());
            assert!(text.contains("A late charge") || text.contains("There is no event 7"), "{text}");
            assert!(text.contains("operator"), "it is a page like every other: {text}");
        }
    }
    assert_eq!(db.count("disconnect_events").await, 0);
}

async fn the_same_form_of_a_page_that_was_loaded_again_is_another_one(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    for _ in 0..2 {
        browser.page("/campaigns/new");
        browser.post("/campaigns/new", &CAMPAIGN).is(303);
    }
    assert_eq!(db.count("campaigns").await, 2);
}
