//! The forms of a campaign: from a list of accounts, from fields, and changed.

use disconnectd::domain::token::Role;

use super::{Browser, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;
use crate::support::{SOON, wait_until};

both_pairs!(
    groups_are_offered_in_a_list_and_beyond_fifty_as_hints,
    a_list_of_accounts_becomes_a_campaign,
    a_filter_is_made_from_fields,
    a_draft_is_changed,
    a_date_stays_as_it_was_given_unless_it_is_changed,
    what_is_wrong_with_a_change_changes_nothing,
);

/// What a field holds.
fn value(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    let value = rest.split_once('"').unwrap().0;
    value.replace("&#34;", "\"").replace("&#39;", "'").replace("&#62;", ">").replace("&#60;", "<").replace("&#61;", "=")
}

async fn groups_are_offered_in_a_list_and_beyond_fifty_as_hints(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let page = browser.page("/accounts?group=tower-3");
    assert!(page.contains("<option value=\"tower-3\" selected>tower-3 (2)</option>"), "{page}");
    assert!(page.contains("<option value=\"fiber\">fiber (1)</option>"), "{page}");
    assert!(browser.page("/accounts?group=elsewhere").contains("<option value=\"elsewhere\" selected>"));
    assert!(browser.page("/campaigns/new").contains("name=\"pick_group\"><option value=\"\">Any</option>"));

    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups".to_owned();
    let rows = (0..60).map(|n| format!("N-{n},Nobody,Active,,,,,,,street-{n:02}"));
    program.write("many.csv", [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n"));
    program.run(&["import", "accounts", "many.csv"]).exits(0);
    let mut page = String::new();
    // Where it took long to count them, it is known for some seconds which there are.
    wait_until(SOON, "the groups are offered as hints", async || {
        page = browser.page("/accounts?group=street-07");
        page.contains("list=\"group-known\"") && page.contains("<option value=\"street-59\">")
    })
    .await;
    assert_eq!(page.matches("data-account=").count(), 1);
    assert_eq!(value(&page, "group"), "street-07");
}

async fn a_list_of_accounts_becomes_a_campaign(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    assert!(!browser.page("/accounts").contains("id=\"to-campaign\""), "of everybody it is none");
    let list = browser.page("/accounts?status=Active&group=tower-3&search=miller&service=connected");
    let (_, rest) = list.split_once("id=\"to-campaign\"><a href=\"").unwrap();
    let link = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&#61;", "=");
    let form = browser.page(&link);
    let filter = "(number ~ miller or name ~ miller or address ~ miller) and status = Active and group = tower-3";
    assert_eq!(value(&form, "where"), filter);
    let path = browser.made(&[("name", "Tower 3"), ("children", "keep"), ("where", filter)], "");
    assert!(text_of(&browser.page(&path)).contains("Accounts 2"), "those that the list had");
    for query in ["service=disconnected", "event=open&status=Active"] {
        let page = browser.page(&format!("/accounts?{query}"));
        assert!(!page.contains("id=\"to-campaign\"") && page.contains("id=\"no-campaign\""), "{query}");
    }
    let seen = Browser::of(&served, Role::Viewer).page("/accounts?status=Active");
    assert!(!seen.contains("to-campaign") && !seen.contains("no-campaign"), "a viewer makes none");
}

async fn a_filter_is_made_from_fields(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    browser.page("/campaigns/new");
    let picks = [("step", "pick"), ("name", "Tower"), ("pick_status", "Active"), ("pick_balance_over", "50")];
    let page = browser.makes(&picks, "").is(200).text();
    assert_eq!(value(&page, "where"), "status = Active and balance > 50");
    assert_eq!((value(&page, "name").as_str(), value(&page, "pick_balance_over").as_str()), ("Tower", ""));
    let more = [("step", "pick"), ("where", "status = Active or balance > 50"), ("pick_family", "alone")];
    let page = browser.makes(&more, "").is(200).text();
    assert_eq!(value(&page, "where"), "(status = Active or balance > 50) and parent = none");
    for fields in [
        &[("step", "pick"), ("pick_balance_over", "much")][..],
        &[("step", "pick"), ("where", "status = Active")],
        // Not added yet, it would be forgotten.
        &[("name", "x"), ("where", "status = Active"), ("pick_group", "fiber")],
    ] {
        let page = browser.makes(fields, "").is(422).text();
        assert!(page.contains("id=\"picked-error\""), "{fields:?}: {page}");
    }
    assert_eq!(db.count("campaigns").await, 0);
}

async fn a_draft_is_changed(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let fields = [
        ("name", "Tower 3"),
        ("date", "2099-12-01"),
        ("zone", "Europe/Berlin"),
        ("children", "keep"),
        ("per_minute", "60"),
        ("canary", "1"),
        ("reason", "taken down"),
        ("numbers", "1002\n1003"),
    ];
    let path = browser.made(&fields, "");
    let change = format!("{path}/change");
    assert!(browser.page(&path).contains("id=\"change\""));
    assert!(!Browser::of(&served, Role::Viewer).page(&path).contains("id=\"change\""));
    let form = browser.page(&change);
    for (name, is) in [
        ("name", "Tower 3"),
        ("per_minute", "60"),
        ("canary", "1"),
        ("reason", "taken down"),
        ("window", "always"),
        ("pause_percent", "10"),
        ("zone", "Europe/Berlin"),
    ] {
        assert_eq!(value(&form, name), is, "{name}");
    }
    assert!(form.contains("type=\"date\" value=\"2099-12-01\"") && form.contains("value=\"keep\" selected"), "{form}");
    assert!(text_of(&form).contains("Now: 2 accounts, from a list."), "{}", text_of(&form));
    let seen = hidden(&form, "seen").unwrap();
    let fields = [
        ("seen", seen.as_str()),
        ("name", "Tower 3, north"),
        ("date", "2099-12-01"),
        ("zone", "Europe/Berlin"),
        ("children", "unlink"),
        ("per_minute", "30"),
        ("canary", ""),
        ("reason", ""),
        ("window", "mon-fri 08:00-16:00 Europe/Berlin"),
        ("pause_percent", "5"),
    ];
    let to = browser.sends(&change, &fields, "").is(303).header("location").unwrap().to_owned();
    let page = text_of(&browser.page(&to));
    assert!(page.contains("is changed") && page.contains("Tower 3, north"), "{page}");
    let campaign = program.json(&["campaign", "show", path.rsplit('/').next().unwrap()]);
    let terms = &campaign["terms"];
    assert_eq!(
        (&terms["children"], &terms["per_minute"], &terms["pause_percent"]),
        (&"unlink".into(), &30.into(), &5.into())
    );
    assert!(terms["canary"].is_null() && terms["reason"].is_null(), "what is emptied is taken away: {terms}");
    assert_eq!((&terms["on"], &campaign["counts"]["accounts"]), (&"2099-12-01".into(), &2.into()));

    // Other accounts, and with them another date.
    let seen = hidden(&browser.page(&change), "seen").unwrap();
    let fields = [
        ("seen", seen.as_str()),
        ("name", "Tower 3, north"),
        ("date", "2099-12-24"),
        ("where", "group = tower-3 and parent != none"),
    ];
    browser.sends(&change, &fields, "").is(303);
    let page = text_of(&browser.page(&path));
    assert!(page.contains("what matches group = tower-3 and parent != none") && page.contains("Accounts 1"), "{page}");
    assert!(page.contains("2099-12-24"), "{page}");
}

async fn a_date_stays_as_it_was_given_unless_it_is_changed(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.write("list.csv", "account_number\n1002\n");
    let mut browser = Browser::of(&served, Role::Operator);
    for (on, date, time, is_kept) in [
        ("2099-12-01 09:00", "2099-12-01", "09:00", false),
        ("2099-12-01T09:00:00", "2099-12-01", "09:00", false),
        ("2099-12-01T09:00:30", "", "", true),
        ("2099-12-01T09:00:00-05:00", "", "", true),
    ] {
        let made = program.json(&["campaign", "create", "--name", "n", "--accounts", "list.csv", "--on", on]);
        let id = made["id"].to_string();
        let change = format!("/campaigns/{id}/change");
        let form = browser.page(&change);
        for (name, is) in [("date", date), ("time", time)] {
            let field = format!("name=\"{name}\" type=\"{name}\" value=\"{is}\"");
            assert!(form.contains(&field), "{on}: {form}");
        }
        assert_eq!(form.contains("id=\"date-now\"") && form.contains(on), is_kept, "{on}: {form}");
        let seen = hidden(&form, "seen").unwrap();
        let fields =
            [("seen", seen.as_str()), ("name", "another"), ("date", date), ("time", time), ("window", "always")];
        browser.sends(&change, &[&fields[..], &[("numbers", "1003")]].concat(), "").is(303);
        let changed = program.json(&["campaign", "show", &id]);
        assert_eq!((&changed["name"], &changed["terms"]["on"]), (&"another".into(), &on.into()), "{on}");
        if is_kept {
            let seen = hidden(&browser.page(&change), "seen").unwrap();
            // Neither is a date lost that was half said, nor one beside the wish to have none.
            for wrong in [&[("time", "10:00")][..], &[("no_date", "yes"), ("date", "2099-12-02")]] {
                let fields = [&[("seen", seen.as_str()), ("name", "another"), ("numbers", "1003")], wrong].concat();
                let page = browser.sends(&change, &fields, "").is(422).text();
                assert!(page.contains("id=\"on-error\""), "{wrong:?}: {page}");
            }
            let fields = [("seen", seen.as_str()), ("name", "another"), ("no_date", "yes"), ("numbers", "1003")];
            browser.sends(&change, &fields, "").is(303);
            assert_eq!(program.json(&["campaign", "show", &id])["terms"]["on"], serde_json::Value::Null, "{on}");
        }
    }
}

async fn what_is_wrong_with_a_change_changes_nothing(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Operator);
    let path = browser.made(&[("name", "Slow"), ("children", "keep"), ("date", "2099-12-01"), ("numbers", "1002")], "");
    let (change, id) = (format!("{path}/change"), path.rsplit('/').next().unwrap());
    let seen = hidden(&browser.page(&change), "seen").unwrap();
    let before = program.json(&["campaign", "show", id])["terms"].clone();
    let same = [("seen", seen.as_str()), ("name", "Slow"), ("children", "keep"), ("date", "2099-12-01")];
    for (more, error) in [
        (&[][..], "form-error"),
        (&[("per_minute", "0")], "per_minute-error"),
        (&[("window", "often")], "window-error"),
        (&[("time", "09:00")], "on-error"),
        (&[("numbers", "1002"), ("where", "status = Lead")], "cohort-error"),
    ] {
        let page = browser.sends(&change, &[&same[..], more].concat(), "").is(422).text();
        assert!(page.contains(&format!("id=\"{error}\"")), "{more:?}: {page}");
    }
    program.run(&["campaign", "change", id, "--canary", "1"]).exits(0);
    let page = browser.sends(&change, &[&same[..], &[("reason", "x")]].concat(), "").is(422).text();
    assert!(text_of(&page).contains("has been changed since this was shown"), "{page}");
    assert!(page.contains(&format!("<a href=\"{change}\">Change it as it is now</a>")), "{page}");
    // Pressed again on that page, it does not take the other's change back either.
    let shown = hidden(&page, "seen").unwrap();
    browser.sends(&change, &[&[("seen", shown.as_str())], &same[1..], &[("reason", "x")]].concat(), "").is(422);
    let after = program.json(&["campaign", "show", id])["terms"].clone();
    assert_eq!((&after["reason"], &after["canary"], &after["on"]), (&before["reason"], &1.into(), &before["on"]));
    let digest = hidden(&browser.page(&format!("{path}/dry-run")), "digest").unwrap();
    browser.post(&format!("{path}/start"), &[("digest", &digest)]).is(303);
    assert!(!browser.page(&path).contains("id=\"change\""));
    for refused in [browser.get(&change), browser.sends(&change, &same, "")] {
        let text = text_of(&refused.is(409).text());
        assert!(text.contains("is running, so it can&#39;t be changed"), "{text}");
    }
}
