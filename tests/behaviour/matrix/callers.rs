//! Everybody who may come, what they bring, and how they are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use disconnectd::domain::token::{Role, TokenId};
use disconnectd::domain::user::{NewSession, NewUser, Proof, SignInSecret};
use serde_json::json;

use super::Asked;
use crate::behaviour::console::events::{failed, scheduled};
use crate::behaviour::{ACCOUNTS, header, with_a_family};
use crate::http::Request;
use crate::program::Served;
use crate::support::database::TestDatabase;
use crate::support::rows::debit;
use crate::support::scenario::clerk;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    Api,
    Console,
}

/// Whoever comes, to this process. A token and a session of a role are called by its name.
pub struct Callers {
    pub served: Served,
}

/// What a form before any session shows: the browser has it as a cookie too.
const BEFORE: &str = "abcdefghijklmnopqrstuv";

/// A session of each way to end.
const ENDED: [&str; 4] = ["signed-out", "expired", "unused", "disabled"];

/// Somebody who may not, and what is answered.
pub struct Refused {
    caller: String,
    request: Request,
    how: How,
}

enum How {
    /// A problem of the API.
    Problem(u16, &'static str),
    /// To sign in, or that nothing was done without it.
    SignIn,
    /// The same for a part of a page.
    SignInAround,
    /// A page that says this.
    Page(u16, String),
}

/// Somebody who may.
pub struct LetIn {
    pub name: String,
    role: Option<Role>,
    as_password: bool,
}

impl Callers {
    /// To an installation with something to look at and to change for each line. Nothing happens in it by itself.
    pub async fn come(db: &TestDatabase) -> Self {
        let program = with_a_family(db).await;
        let rows = (2001..2010).map(|n| format!("{n},Nobody,Active,,USD,,,{n}@example.com,,\n"));
        program.write("more.csv", header(ACCOUNTS) + &rows.collect::<String>());
        program.run(&["import", "accounts", "more.csv"]).exits(0);
        for (number, event) in [("1003", "1"), ("1002", "2")] {
            assert_eq!(scheduled(&program, number, "2099-12-01"), event);
        }
        assert_eq!(failed(db, &program, "2004").await, "3");
        // Invoice 1.
        db.debits([debit("2008", "november", "10.00")]).await;
        db.disconnected("2008").await;
        for number in ["2003", "2005"] {
            program.write("list.csv", format!("account_number\n{number}\n"));
            let arguments = ["campaign", "create", "--name", number, "--accounts", "list.csv", "--children", "keep"];
            program.run(&arguments).exits(0);
        }
        db.tokens_and_users().await;
        let served = program.serve(&["--roles", "api,console"]);
        served.until_ready_is(200);
        let template = json!({ "name": "Monthly", "where": "debit_age > 90", "cron": "0 2 1 * *", "accounts_max": 10 });
        served.request("POST", "/api/v1/campaign-templates").json(&template).answer().is(201);
        Self { served }
    }

    /// What a line brings, with the digest of what is there now.
    fn body(&self, asked: &Asked<'_>) -> String {
        if !asked.line.body.contains("DIGEST") {
            return asked.line.body.to_owned();
        }
        let shows = if asked.path.starts_with("/accounts") { "overview" } else { "dry-run" };
        let path = format!("/api/v1{}/{shows}", asked.path.rsplit_once('/').unwrap().0);
        let digest = self.served.request("GET", &path).answer().is(200).json();
        asked.line.body.replace("DIGEST", digest["digest"].as_str().unwrap())
    }

    fn call(&self, asked: &Asked<'_>) -> Request {
        let kind = if asked.line.route.contains("/imports/") { "text/csv" } else { "application/json" };
        let request = asked.request(self);
        if asked.line.body.is_empty() { request } else { request.body(kind, asked.line.body) }
    }

    /// A form with this key in it, or a look.
    fn form(&self, asked: &Asked<'_>, key: &str) -> Request {
        let body = format!("form_key={key}&{}", self.body(asked));
        let request = asked.request(self);
        if asked.is_write() { request.body("application/x-www-form-urlencoded", body) } else { request }
    }

    /// As a browser sends it in a session.
    fn in_session(&self, asked: &Asked<'_>, secret: &str) -> Request {
        let key = SignInSecret::presented(secret).form_key();
        self.form(asked, &key).header("Cookie", &format!("disconnectd_session={secret}"))
    }

    /// Each who may not.
    pub fn refused(&self, asked: &Asked<'_>) -> Vec<Refused> {
        let refused = match asked.face {
            Face::Api => self.refused_calls(asked),
            Face::Console => self.refused_pages(asked).into_iter().chain(self.refused_forms(asked)).collect(),
        };
        let refused = refused.into_iter();
        refused.map(|(caller, request, how)| Refused { caller: caller.to_owned(), request, how }).collect()
    }

    fn refused_calls(&self, asked: &Asked<'_>) -> Vec<(&'static str, Request, How)> {
        let Some(needed) = asked.line.needed else { return Vec::new() };
        let call = || self.call(asked);
        let mut refused = vec![
            ("nobody", call(), How::Problem(401, "token_missing")),
            ("a made-up token", call().token("dct_made-up"), How::Problem(401, "token_unknown")),
            ("a revoked token", call().token("revoked"), How::Problem(401, "token_revoked")),
            ("a session of an admin", self.in_session(asked, "admin"), How::Problem(401, "token_missing")),
            ("a session as a token", call().token("admin-session"), How::Problem(401, "token_unknown")),
        ];
        if asked.path.starts_with("/api/v1/") {
            // A browser would send it by itself.
            refused.push(("a token as a password", as_password(call()), How::Problem(401, "token_missing")));
        }
        let roles = Role::ALL.into_iter().filter(|role| !role.allows(needed));
        let lower = roles.map(|role| (role.as_str(), call().token(role.as_str()), How::Problem(403, "role_missing")));
        refused.into_iter().chain(lower).collect()
    }

    fn refused_pages(&self, asked: &Asked<'_>) -> Vec<(&'static str, Request, How)> {
        let Some(needed) = asked.line.needed else { return Vec::new() };
        let bare = || self.form(asked, "none");
        let mut refused = vec![
            ("nobody", bare(), How::SignIn),
            ("a script of nobody", bare().header("HX-Request", "true"), How::SignInAround),
            ("a made-up session", self.in_session(asked, "made-up"), How::SignIn),
            ("a token of an admin", bare().token("admin"), How::SignIn),
            ("a token as a password", as_password(bare()), How::SignIn),
            ("a token as a session", self.in_session(asked, "admin"), How::SignIn),
        ];
        refused.extend(ENDED.map(|ended| (ended, self.in_session(asked, ended), How::SignIn)));
        let needs = || How::Page(403, format!("This needs the role {needed}, and you have the role"));
        let roles = Role::ALL.into_iter().filter(|role| !role.allows(needed));
        let lower = roles.map(|role| (role.as_str(), self.in_session(asked, &session_of(role)), needs()));
        refused.into_iter().chain(lower).collect()
    }

    /// Who may, by a form that is not theirs.
    fn refused_forms(&self, asked: &Asked<'_>) -> Vec<(&'static str, Request, How)> {
        if !asked.is_write() {
            return Vec::new();
        }
        let (cookie, key, other) = match asked.line.needed {
            None => (format!("disconnectd_form={BEFORE}"), BEFORE.to_owned(), "bcdefghijklmnopqrstuvw".to_owned()),
            Some(role) => {
                let (secret, other) = (session_of(role), session_of(Role::Viewer) + "-2");
                let [key, other] = [&secret, &other].map(|secret| SignInSecret::presented(secret).form_key());
                (format!("disconnectd_session={secret}"), key, other)
            }
        };
        let form = |key: &str| self.form(asked, key).header("Cookie", &cookie);
        let foreign = |name, value| form(&key).header(name, value);
        let elsewhere = || How::Page(403, "This was sent by another site, so nothing was done.".into());
        let not_theirs = || How::Page(403, "This form is not one of your session, so nothing was done.".into());
        let as_json = || asked.request(self).header("Cookie", &cookie).body("application/json", "{}");
        vec![
            ("without a key", form(""), not_theirs()),
            ("with the key of another session", form(&other), not_theirs()),
            ("from another site", foreign("Origin", "https://elsewhere.example"), elsewhere()),
            ("from nowhere", foreign("Origin", "null"), elsewhere()),
            ("by a foreign page", foreign("Sec-Fetch-Site", "cross-site"), elsewhere()),
            ("by a neighbour's page", foreign("Sec-Fetch-Site", "same-site"), elsewhere()),
            ("with a document", as_json(), How::Page(415, "This takes a form as a browser sends it.".into())),
        ]
    }
}

fn session_of(role: Role) -> String {
    format!("{role}-session")
}

fn as_password(request: Request) -> Request {
    request.header("Authorization", &format!("Basic {}", STANDARD.encode("anybody:admin")))
}

impl LetIn {
    /// Each who may, the least of them first.
    pub fn all(asked: &Asked<'_>) -> Vec<Self> {
        let Some(needed) = asked.line.needed else {
            return vec![Self { name: "nobody".into(), role: None, as_password: false }];
        };
        let roles = Role::ALL.into_iter().filter(|role| role.allows(needed));
        let mut all: Vec<_> =
            roles.map(|role| Self { name: role.as_str().into(), role: Some(role), as_password: false }).collect();
        if asked.face == Face::Api && !asked.path.starts_with("/api/v1/") {
            all.push(Self { name: "a token as a password".into(), role: Some(Role::Admin), as_password: true });
        }
        all
    }
    /// Each session is one of its own: some of what is asked for ends it.
    pub async fn request(&self, callers: &Callers, asked: &Asked<'_>, db: &TestDatabase) -> Request {
        match (asked.face, self.role) {
            (Face::Api, None) => callers.call(asked),
            (Face::Api, Some(_)) if self.as_password => as_password(callers.call(asked)),
            (Face::Api, Some(role)) => callers.call(asked).token(role.as_str()),
            (Face::Console, None) => {
                callers.form(asked, BEFORE).header("Cookie", &format!("disconnectd_form={BEFORE}"))
            }
            (Face::Console, Some(role)) => {
                let secret = format!("{role} {} {}", asked.method, asked.path).replace(' ', "_");
                db.session(role.as_str(), &secret).await;
                callers.in_session(asked, &secret)
            }
        }
    }
}

impl Refused {
    #[track_caller]
    pub fn asks(self, asked: &Asked<'_>) {
        let name = asked.name(&self.caller);
        let answer = self.request.answer();
        let says = |status: u16, text: &str| {
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert!(asked.method == "HEAD" || answer.text().contains(text), "{name}: {}", answer.text());
        };
        match self.how {
            How::Problem(status, code) => {
                says(status, &format!("urn:disconnectd:problem:{code}"));
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
                let how = answer.header("www-authenticate").unwrap_or_default();
                assert_eq!(how.starts_with("Bearer"), status == 401, "{name}: {how}");
            }
            How::SignIn if asked.is_write() => says(401, "so nothing was done. Sign in"),
            How::SignIn => {
                says(303, "");
                assert!(answer.header("location").is_some_and(|to| to.starts_with("/sign-in?next=%2F")), "{name}");
            }
            How::SignInAround => {
                says(401, "");
                assert!(answer.header("hx-redirect").is_some_and(|to| to.starts_with("/sign-in?next=")), "{name}");
            }
            How::Page(status, text) => says(status, &text),
        }
    }
}

impl TestDatabase {
    pub async fn session(&self, user: &str, secret: &str) {
        let (user, checked) = self.store.credentials(user).await.unwrap().unwrap();
        let proof = Proof::Password { user: user.id, checked };
        let session = NewSession { proof, hash: SignInSecret::presented(secret).hash(), browser: None };
        assert!(self.store.open_session(&session).await.unwrap().is_some());
    }

    async fn tokens_and_users(&self) {
        // The first is the probe's.
        let owners = Role::ALL.map(|role| (role, role.as_str()));
        let others = ["revoked", "one-to-revoke", "another-to-revoke"].map(|token| (Role::Admin, token));
        for ((role, token), id) in owners.into_iter().chain(others).zip(2..) {
            assert_eq!(self.known_token(token, role, token).await.0, id);
        }
        self.store.revoke_token(TokenId(6), &clerk()).await.unwrap();

        self.users_of_all_roles().await;
        let password = self.store.credentials("admin").await.unwrap().map(|(_, hash)| hash);
        for name in ["clerk", "disabled"] {
            let user =
                NewUser { name: name.into(), role: Role::Admin, password: password.clone(), created_by: "test".into() };
            self.store.create_user(&user).await.unwrap();
            self.session(name, name).await;
        }
        self.store.create_link("viewer", &SignInSecret::presented("a-link").hash(), &clerk()).await.unwrap();
        for role in Role::ALL {
            self.session(role.as_str(), &session_of(role)).await;
        }
        for ended in ["signed-out", "expired", "unused"] {
            self.session("admin", ended).await;
        }
        self.store.close_session(&SignInSecret::presented("signed-out").hash()).await.unwrap();
        for (which, column, seconds) in [(0, "expires_at", -1), (1, "last_seen_at", -12 * 3_600 - 1)] {
            let instant = self.instant(seconds);
            // The last two that were opened.
            let id = format!("(select id from console_sessions order by id desc limit 1 offset {})", 1 - which);
            assert_eq!(self.sql(&format!("update console_sessions set {column} = {instant} where id = {id}")).await, 1);
        }
        // Its session is as it was.
        let now = self.instant(0);
        self.sql(&format!("update users set disabled_at = {now}, disabled_by = 'test' where name = 'disabled'")).await;
    }
}
