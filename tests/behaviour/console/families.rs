//! Families: whose contact gets a child's invoices; and a parent of hundreds: its page has numbers, its children are paged,
//! and one choice is for all of them but some.

use disconnectd::domain::token::Role;

use super::{Browser, hidden, text_of, with_users};
use crate::behaviour::both_pairs;
use crate::support::database::TestDatabase;

both_pairs!(
    a_large_family_is_told_in_numbers_and_paged,
    one_choice_is_for_all_children_but_those_that_are_found,
    an_invoice_shows_through_whom_it_goes,
);

const CHILDREN: usize = 120;

/// A parent of [`CHILDREN`], one of whom has no contact and a child of its own.
fn family() -> String {
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups".to_owned();
    let parent = "P,Parent Ltd,Active,,,,,p@example.com,,".to_owned();
    let child = |n| {
        let email = if n == 7 { String::new() } else { format!("c{n}@example.com") };
        format!("C-{n:03},Child {n},Active,P,,,,{email},,")
    };
    let below = "G-1,Grandchild,Active,C-007,,,,g@example.com,,".to_owned();
    let lines: Vec<_> = [head, parent].into_iter().chain((0..CHILDREN).map(child)).chain([below]).collect();
    lines.join("\n")
}

async fn a_large_family_is_told_in_numbers_and_paged(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.write("family.csv", family());
    program.run(&["import", "accounts", "family.csv"]).exits(0);
    program.run(&["schedule", "C-001", "--on", "2099-12-01", "--yes"]).exits(0);
    let mut browser = Browser::of(&served, Role::Viewer);
    let page = browser.page("/accounts/P");
    let text = text_of(&page);
    assert!(text.contains("Children 120 : 120 connected, 1 with an open event"), "{text}");
    assert!(text.contains("nobody gets the invoices of one of its children"), "{text}");
    assert!(!page.contains("C-002"), "they are not listed there");
    let first = browser.page("/accounts/P/family");
    assert_eq!(first.matches("data-account=").count(), 100);
    assert!(text_of(&first).contains("Children (120)"));
    let next = first.split("<a href=\"").find(|rest| rest.contains("rel=\"next\"")).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&").replace("&#61;", "=");
    let second = browser.page(&next);
    assert_eq!(second.matches("data-account=").count(), 20);
    assert!(second.contains("id=\"first\"") && !second.contains("rel=\"next\""));
}

async fn one_choice_is_for_all_children_but_those_that_are_found(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.write("family.csv", family());
    program.run(&["import", "accounts", "family.csv"]).exits(0);
    let mut browser = Browser::of(&served, Role::Operator);
    let path = "/accounts/P/disconnect";
    let window = browser.page(path);
    let text = text_of(&window);
    assert!(text.contains("120 children are asked about") && text.contains("1 has no contact"), "{text}");
    assert_eq!(window.matches("role=\"radiogroup\"").count(), 0);

    let shown = browser.post(path, &[("when", "now"), ("find", "child 1"), ("step", "show")]).is(200).text();
    assert!(text_of(&shown).contains("31 children are found."), "{}", text_of(&shown));
    assert_eq!(shown.matches("role=\"radiogroup\"").count(), 31);
    let fields = [("when", "now"), ("without_contact", "yes"), ("child:C-110", "keep"), ("step", "show")];
    let shown = browser.post(path, &fields).is(200).text();
    assert!(text_of(&shown).contains("One child is found."), "{}", text_of(&shown));
    let place = |id: &str| shown.find(&format!("id=\"child-{id}-keep\"")).unwrap();
    assert!(place("C-007") < place("C-110"), "each in the place that it has among all");
    // Who has a choice of its own stays, whatever is looked for next.
    let fields =
        [("when", "now"), ("child:C-010", "keep"), ("others", "disconnect"), ("find", "G-1"), ("step", "show")];
    let shown = browser.post(path, &fields).is(200).text();
    assert!(text_of(&shown).contains("121 children are asked about"), "who is below them too: {}", text_of(&shown));
    assert!(shown.contains("name=\"child:C-010\"") && shown.contains("name=\"child:G-1\""), "{shown}");
    assert_eq!(shown.matches("role=\"radiogroup\"").count(), 2);
    // Whose choice is taken back stays too, for whoever is at it, until something else is looked for.
    let looked_for = hidden(&shown, "looked_for").unwrap();
    for (find, is_shown) in [("G-1", true), ("G-2", false)] {
        let fields = [
            ("when", "now"),
            ("child:C-010", ""),
            ("others", "disconnect"),
            ("find", find),
            ("looked_for", looked_for.as_str()),
            ("step", "show"),
        ];
        let shown = browser.post(path, &fields).is(200).text();
        assert_eq!(shown.contains("name=\"child:C-010\""), is_shown, "{find}: {shown}");
    }

    let digest = hidden(&shown, "digest").unwrap();
    let confirm = |choices: &[(&'static str, &'static str)]| {
        [choices, &[("when", "date"), ("date", "2099-12-01"), ("step", "confirm")]].concat()
    };
    let mut fields = confirm(&[("child:C-010", "keep")]);
    fields.push(("digest", &digest));
    let undecided = browser.post(path, &fields).is(422).text();
    assert!(text_of(&undecided).contains("and 114 more"), "{}", text_of(&undecided));
    let mut fields = confirm(&[("others", "unlink")]);
    fields.push(("digest", &digest));
    assert!(text_of(&browser.post(path, &fields).is(422).text()).contains("C-007 has neither an email"));
    assert_eq!(db.count("disconnect_events").await, 0);
    let mut fields =
        confirm(&[("others", "unlink"), ("child:C-007", "disconnect"), ("child:C-010", "keep"), ("child:G-1", "keep")]);
    fields.push(("digest", &digest));
    browser.post(path, &fields).is(303);
    assert_eq!(db.count("disconnect_events").await, 2, "the parent's and that of the one that goes too");
    assert_eq!(program.json(&["accounts", "show", "P"])["children"], 2);
}

async fn an_invoice_shows_through_whom_it_goes(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["disconnect", "1002", "--yes"]).exits(0);
    let number = program.json(&["invoices", "list", "--account", "1002"])["items"][0]["number"].to_string();
    let mut browser = Browser::of(&served, Role::Viewer);
    let page = browser.page(&format!("/invoices/{number}"));
    let text = text_of(&page);
    assert!(text.contains("Ben Miller Through 1001, Ada Miller ada@example.com"), "{text}");
    assert!(page.contains("<a href=\"/accounts/1001\">"), "{page}");
    let shown = program.json(&["invoices", "show", &number]);
    assert_eq!((&shown["account_number"], &shown["recipient"]["account_number"]), (&"1002".into(), &"1001".into()));
    assert_eq!(shown["recipient"]["email"], "ada@example.com");
    let told = program.run(&["invoices", "show", &number]).exits(0).stdout;
    assert!(told.contains("ada@example.com, through 1001, Ada Miller"), "{told}");

    program.run(&["accounts", "contact", "1002", "--mailing-address", "7 Oak Street"]).exits(0);
    let text = text_of(&browser.page(&format!("/invoices/{number}")));
    assert!(text.contains("Ben Miller 7 Oak Street") && !text.contains("Through"), "its own comes first: {text}");
    program.run(&["accounts", "contact", "1002", "--no-mailing-address"]).exits(0);
    program.run(&["disconnect", "1001", "--children", "keep", "--yes"]).exits(0);
    let text = text_of(&browser.page(&format!("/invoices/{number}")));
    assert!(text.contains("nobody gets it"), "a parent that is gone gets nothing for it: {text}");
}
