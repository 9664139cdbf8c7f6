//! The console as people use it, in a browser without JavaScript: pages, forms, cookies.

mod campaign_forms;
mod campaigns;
mod disconnect;
pub mod events;
mod families;
mod sent;
mod sessions;
mod sign_in;
mod system;

use std::collections::BTreeMap;
use std::net::TcpStream;

use disconnectd::domain::token::Role;
use disconnectd::domain::user::{NewUser, Password};
use disconnectd::passwords::Passwords;
use url::form_urlencoded;

use crate::behaviour::{both_pairs, queue_url, with_a_family};
use crate::http::{Answer, Request};
use crate::program::{Program, Served};
use crate::support::database::TestDatabase;

both_pairs!(
    the_list_finds_filters_and_goes_on,
    an_account_has_its_tabs,
    each_answer_tells_browsers_what_to_trust,
    what_is_not_there_is_a_page_too,
    names_that_look_like_html_are_shown_as_they_are,
    dates_and_money_are_in_the_readers_order,
);

pub const PASSWORD: &str = "correct horse battery";

/// Somebody's browser: it keeps cookies, and remembers the key of the last page's form.
pub struct Browser<'s> {
    served: &'s Served,
    cookies: BTreeMap<String, String>,
    form_key: String,
}

impl<'s> Browser<'s> {
    pub fn new(served: &'s Served) -> Self {
        Self { served, cookies: BTreeMap::new(), form_key: String::new() }
    }

    /// Signed in as the user of this role; see [`TestDatabase::users_of_all_roles`].
    pub fn of(served: &'s Served, role: Role) -> Self {
        let mut browser = Self::new(served);
        browser.signs_in(role.as_str(), PASSWORD).is(303);
        browser
    }

    fn request(&self, method: &str, path: &str) -> Request {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.served.bare_request(method, path);
        if cookies.is_empty() { request } else { request.header("Cookie", &cookies.join("; ")) }
    }

    /// Takes what an answer brings.
    fn takes(&mut self, answer: Answer) -> Answer {
        for (name, value) in &answer.headers {
            if name != "set-cookie" {
                continue;
            }
            let (pair, attributes) = value.split_once(';').unwrap();
            assert!(attributes.contains("SameSite=Strict") && attributes.contains("Path=/"), "{value}");
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        if let Some(key) = hidden(&answer.text(), "form_key") {
            self.form_key = key;
        }
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        let answer = self.request("GET", path).answer();
        self.takes(answer)
    }

    #[track_caller]
    pub fn page(&mut self, path: &str) -> String {
        self.get(path).is(200).text()
    }

    /// Sends a form as the last page had it.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let key = self.form_key.clone();
        let answer = form(self.request("POST", path), &[&[("form_key", key.as_str())], fields].concat()).answer();
        self.takes(answer)
    }

    /// Sends the form, and leaves its answer to whoever reads it.
    pub fn begins_to_sign_in(mut self, name: &str, password: &str) -> TcpStream {
        self.page("/sign-in");
        let fields = [("form_key", self.form_key.as_str()), ("name", name), ("password", password)];
        form(self.request("POST", "/sign-in"), &fields).sent().unwrap()
    }

    pub fn signs_in(&mut self, name: &str, password: &str) -> Answer {
        self.page("/sign-in");
        self.post("/sign-in", &[("name", name), ("password", password)])
    }
}

fn form(request: Request, fields: &[(&str, &str)]) -> Request {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    request.body("application/x-www-form-urlencoded", body.finish())
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The text of a page, without its tags.
fn text_of(page: &str) -> String {
    let mut text = String::new();
    let mut is_in_tag = false;
    for c in page.chars() {
        match c {
            '<' => is_in_tag = true,
            '>' => {
                is_in_tag = false;
                text.push(' ');
            }
            c if !is_in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl TestDatabase {
    /// One of each role, by its name, all with the same password.
    pub async fn users_of_all_roles(&self) {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(Password::chosen(PASSWORD).unwrap()).await.unwrap();
        for role in Role::ALL {
            let user =
                NewUser { name: role.as_str().into(), role, password: Some(hash.clone()), created_by: "test".into() };
            self.store.create_user(&user).await.unwrap();
        }
    }
}

/// A family of two, one that owes nothing, and a user of each role.
pub async fn with_users(db: &TestDatabase) -> (Program, Served) {
    let program = with_a_family(db).await;
    db.users_of_all_roles().await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    (program, served)
}

/// The sample provider with everybody connected, and a user of each role.
pub async fn with_the_sample(db: &TestDatabase) -> (Program, Served) {
    let program = Program::new(db.folder(), db.url(), queue_url(db));
    program.run(&["demo", "--load"]).exits(0);
    db.probe_token().await;
    db.users_of_all_roles().await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    (program, served)
}

async fn the_list_finds_filters_and_goes_on(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Viewer);
    assert_eq!(browser.get("/").is(303).header("location"), Some("/accounts"));
    let all = browser.page("/accounts");
    for number in ["1001", "1002", "1003"] {
        assert!(all.contains(&format!("data-account=\"{number}\"")), "{number}");
    }
    let found = |page: &str| -> Vec<String> {
        page.split("data-account=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    for (query, numbers) in [
        ("search=miller", vec!["1001", "1002"]),
        ("search=ELM+street", vec!["1001", "1002"]),
        ("status=Lead", vec!["1003"]),
        ("group=fiber", vec!["1001"]),
        ("service=disconnected", vec![]),
        ("service=connected&sort=name", vec!["1001", "1002", "1003"]),
        ("event=open", vec![]),
        ("after=1001", vec!["1002", "1003"]),
        ("after=1002&search=&status=&group=&service=&event=&sort=", vec!["1003"]),
    ] {
        assert_eq!(found(&browser.page(&format!("/accounts?{query}"))), numbers, "{query}");
    }
    assert!(!all.contains("/disconnect\""), "a viewer is not shown what a viewer may not");

    // More than one page of them.
    let head = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups".to_owned();
    let rows = (0..120).map(|n| format!("N-{n:03},Nobody {n},Active,,,,,,,"));
    let lines: Vec<String> = [head].into_iter().chain(rows).collect();
    program.write("many.csv", lines.join("\n"));
    program.run(&["import", "accounts", "many.csv"]).exits(0);
    let (mut path, mut all) = ("/accounts?search=nobody&sort=name".to_owned(), Vec::new());
    loop {
        let page = browser.page(&path);
        all.extend(found(&page));
        let Some((_, next)) = page.split_once("rel=\"next\"") else { break };
        assert!(next.contains("id=\"next\""));
        let link = page
            .split("<a href=\"")
            .find(|rest| rest.contains("rel=\"next\"") && rest.find("rel=\"next\"") < rest.find('>'));
        path = link.unwrap().split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
        assert!(all.len() <= 120, "the pages go round in circles");
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 120);
}

async fn an_account_has_its_tabs(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    program.run(&["disconnect", "1002", "--yes", "--reason", "moved <out>"]).exits(0);
    let mut browser = Browser::of(&served, Role::Operator);
    let parent = text_of(&browser.page("/accounts/1001"));
    for part in
        ["Ada Miller", "12 Elm Street", "ada@example.com", "fiber, tower-3", "America/New_York", "Router not returned"]
    {
        assert!(parent.contains(part), "{part}: {parent}");
    }
    assert!(parent.contains("USD 140.62"), "{parent}");
    let child = text_of(&browser.page("/accounts/1002"));
    assert!(child.contains("Inactive Disconnected since"), "{child}");
    let invoices = browser.page("/accounts/1002/invoices");
    assert!(text_of(&invoices).contains("Final") && text_of(&invoices).contains("USD 21.54"), "{invoices}");
    let invoice = invoices.split("href=\"/invoices/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let invoice = text_of(&browser.page(&format!("/invoices/{invoice}")));
    assert!(invoice.contains("Final invoice") && invoice.contains("Monthly charge November"), "{invoice}");
    assert!(text_of(&browser.page("/accounts/1001/family")).contains("Ben Miller"));
    assert!(text_of(&browser.page("/accounts/1002/events")).contains("completed: disconnected"));
    assert!(browser.page("/accounts/1002/log").contains("moved &#60;out&#62;"));
}

async fn each_answer_tells_browsers_what_to_trust(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Viewer);
    for path in ["/accounts", "/sign-in", "/nowhere", "/accounts/none", "/sign-in/link?secret=x"] {
        let answer = browser.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        // With `no-referrer`, browsers send the forms of a page with `Origin: null`.
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let page = answer.text();
        // The policy would refuse it, and nobody would see why the page is broken.
        for forbidden in [" style=\"", " onclick=", "<style", "javascript:", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{path}: {forbidden}");
        }
    }
    let page = browser.page("/accounts");
    let assets: Vec<_> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 4, "{assets:?}");
    for asset in assets {
        let answer = served.bare_request("GET", asset).answer().is(200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"), "{asset}");
        assert!(answer.body.len() > 100, "{asset}");
    }
}

async fn what_is_not_there_is_a_page_too(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let mut browser = Browser::of(&served, Role::Viewer);
    for (path, status) in [
        ("/nowhere", 404),
        ("/accounts/none", 404),
        ("/accounts/%20", 404),
        ("/invoices/7", 404),
        ("/invoices/x", 404),
        ("/assets/none.css", 404),
        ("/accounts?search=%00", 422),
        ("/accounts/1001/log?after=x", 422),
        ("/sign-out", 405),
    ] {
        let answer = browser.get(path).is(status);
        let page = answer.text();
        assert!(page.contains(answer.header("x-request-id").unwrap()), "{path}: its id is on the page");
        assert!(page.contains("<h1"), "{path}");
    }
    // What programs ask for is answered to programs.
    served.bare_request("GET", "/api/nowhere").answer().problem(404, "unknown_route");
}

async fn names_that_look_like_html_are_shown_as_they_are(db: &TestDatabase) {
    let (program, served) = with_users(db).await;
    let hostile = "<script>alert(1)</script>\"'>&";
    program.write(
        "hostile.csv",
        "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n".to_owned()
            + "\"a/b?c=<i>\",\"<script>alert(1)</script>\"\"'>&\",Active,,,,\"<script>alert(1)</script>\",,,\"<b>\"\n",
    );
    program.run(&["import", "accounts", "hostile.csv"]).exits(0);
    let mut browser = Browser::of(&served, Role::Operator);
    let path = "/accounts/a%2Fb%3Fc%3D%3Ci%3E";
    assert!(browser.page("/accounts").contains(&format!("href=\"{path}\"")), "the link leads to it");
    for page in [
        browser.page("/accounts"),
        browser.page("/accounts?search=%3Cscript%3E&group=%22%3E%3Cb%3E"),
        browser.page(path),
        browser.page(&format!("{path}/family")),
        browser.page(&format!("{path}/disconnect")),
        browser.page("/sign-in?next=/%22%3E%3Cscript%3E"),
        browser.page("/sign-in/link?secret=%22%3E%3Cscript%3E"),
    ] {
        for raw in ["<script>alert", "<b>", "<i>", "\"><script>", hostile] {
            assert!(!page.contains(raw), "{raw}: {page}");
        }
    }
    assert!(browser.page(path).contains("&#60;script&#62;alert(1)"), "it is shown");
}

async fn dates_and_money_are_in_the_readers_order(db: &TestDatabase) {
    let (_, served) = with_users(db).await;
    let browser = Browser::of(&served, Role::Viewer);
    let page = |languages| {
        text_of(&browser.request("GET", "/accounts/1001").header("Accept-Language", languages).answer().is(200).text())
    };
    let (american, german) = (page("en-US,en;q=0.9"), page("de-DE,de;q=0.9"));
    assert!(american.contains("11/12/2026") && american.contains("USD 140.62"), "{american}");
    assert!(german.contains("12.11.2026") && german.contains("140,62 USD"), "{german}");
}
