//! Every route of the program, with everybody who may come: who may is let in, and who may not is refused as documented,
//! and has changed nothing. The routes are the router's own: one without a line in the [`table`] fails.

mod callers;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use disconnectd::console;
use disconnectd::domain::token::Role;
use serde_json::Value;

use self::callers::{Callers, Face, LetIn};
use self::table::{API, CONSOLE, Line};
use super::both_pairs;
use crate::http::{Answer, Request};
use crate::program::Served;
use crate::support::database::{Dump, TestDatabase};

both_pairs!(each_route_has_its_line, who_may_not_changes_nothing_and_who_may_is_let_in);

/// What a browser or a program could ask for.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];

/// With what is there in place of the parameters.
fn concrete(path: &str) -> String {
    let is_api = path.starts_with("/api");
    let id = match path {
        "/api/v1/tokens/{id}" => "7",
        // The one that has failed.
        "/api/v1/events/{id}/retry" => "3",
        // It goes on for as long as somebody listens, so it is one that is not there.
        "/campaigns/{id}/live" => "999999",
        _ if path.contains("templates") || is_api => "1",
        _ => "2",
    };
    let number = match path {
        _ if path.contains("/invoices/") => "1",
        _ if is_api => "2001",
        _ => "2002",
    };
    let path = path.replace("{number}", number).replace("{id}", id);
    let path = path.replace("{key}", "cutoff_time").replace("{file}", "start.js");
    let path = path.replace("{change}", "cancel").replace("{command}", "pause");
    assert!(!path.contains('{'), "{path} has a parameter that this test does not know");
    if path == "/system/users/sessions" { path + "?name=operator" } else { path }
}

/// Each path of the program, with the role that it says it asks for, where the table of it is.
fn paths(served: &Served) -> BTreeMap<String, Option<Role>> {
    let document = served.request("GET", "/api/openapi.json").answer().is(200).json();
    let described = document["paths"].as_object().unwrap().keys().map(|path| (path.clone(), None));
    described.chain(console::paths().into_iter().map(|(path, role)| (path.to_owned(), role))).collect()
}

/// What the router answers at a path, by its own word.
fn methods(served: &Served, path: &str) -> BTreeSet<String> {
    let refused = served.request("OPTIONS", &concrete(path)).answer().is(405);
    refused.header("allow").unwrap_or_default().split(',').map(|method| method.trim().to_owned()).collect()
}

fn stated(path: &str) -> BTreeSet<String> {
    let lines = API.iter().chain(CONSOLE).filter_map(|line| line.route.split_once(' '));
    let methods = lines.filter(|(_, known)| *known == path).map(|(method, _)| method.to_owned());
    // Who may look, may ask for the head of it.
    methods.flat_map(|method| if method == "GET" { vec!["HEAD".into(), method] } else { vec![method] }).collect()
}

async fn each_route_has_its_line(db: &TestDatabase) {
    let callers = Callers::come(db).await;
    let served = &callers.served;
    let paths = paths(served);
    for (path, role) in &paths {
        assert_eq!(methods(served, path), stated(path), "{path}: what there is, and what the table says");
        let lines = CONSOLE.iter().filter(|line| line.route.split_once(' ').is_some_and(|(_, known)| known == path));
        for line in lines {
            assert_eq!(line.needed, *role, "{}", line.route);
        }
        // Whatever else is asked for is refused alike, whoever asks.
        for method in METHODS.into_iter().filter(|method| !stated(path).contains(*method)) {
            for request in [served.bare_request(method, &concrete(path)), served.request(method, &concrete(path))] {
                request.answer().is(405);
            }
        }
    }
    for line in API.iter().chain(CONSOLE) {
        let path = line.route.split_once(' ').unwrap().1;
        assert!(paths.contains_key(path), "{path} is gone");
    }
    let document = served.request("GET", "/api/openapi.json").answer().is(200).json();
    for line in API {
        let (method, path) = line.route.split_once(' ').unwrap();
        let described = &document["paths"][path][method.to_lowercase()]["x-role"];
        assert_eq!(*described, line.needed.map_or(Value::Null, |role| role.as_str().into()), "{}", line.route);
    }
}

/// A module of the program, with all that is in it; without a name, all of the program.
fn source(module: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut folders) = (vec![source.join(module).with_extension("rs")], vec![source.join(module)]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (inner, found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        files.extend(found);
    }
    let files = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let files = files.filter(|file| file.exists());
    files.map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// What is routed without being described would be in no document, and behind no role; a page that is in no table too.
#[test]
fn nothing_is_routed_around_the_document_and_the_table() {
    let (api, console) = (source("api"), source("console"));
    assert_eq!(source("").matches(".route(").count(), 1, "something is routed elsewhere");
    for around in [".route(", ".nest(", ".nest_service(", ".route_service(", ".fallback_service("] {
        assert!(!api.contains(around), "the API routes something around `routes!`: {around}");
        let times = usize::from(around == ".route(");
        assert_eq!(console.matches(around).count(), times, "the console routes something around its table: {around}");
    }
    assert!(![".merge(", ".fallback("].iter().any(|around| console.contains(around)));
    assert_eq!(api.matches("#[utoipa::path(").count(), API.len(), "each handler is routed, and in the document");
}

/// A request of a line that changes something, or of one that looks.
struct Asked<'l> {
    line: &'l Line,
    method: &'l str,
    path: String,
    face: Face,
}

impl Asked<'_> {
    fn all() -> Vec<Asked<'static>> {
        let mut all = Vec::new();
        for (face, lines) in [(Face::Api, API), (Face::Console, CONSOLE)] {
            for line in lines {
                let (method, path) = line.route.split_once(' ').unwrap();
                let path = concrete(path);
                if method == "GET" {
                    all.push(Asked { line, method: "HEAD", path: path.clone(), face });
                }
                all.push(Asked { line, method, path, face });
            }
        }
        all
    }

    fn is_write(&self) -> bool {
        !["GET", "HEAD"].contains(&self.method)
    }

    fn request(&self, callers: &Callers) -> Request {
        callers.served.bare_request(self.method, &self.path)
    }

    fn name(&self, caller: &str) -> String {
        format!("{} {} as {caller}", self.method, self.path)
    }

    #[track_caller]
    fn is_let_in(&self, answer: &Answer, caller: &str) {
        let to_sign_in = answer.header("location").is_some_and(|to| to.starts_with("/sign-in?"));
        let is_refused = [401, 403].contains(&answer.status) || to_sign_in || answer.status >= 500;
        assert!(!is_refused, "{}: {answer:?}", self.name(caller));
        // Who may look sees something; but for what goes on for as long as somebody listens, and for files whose names
        // change with what is in them.
        let is_elsewhere = self.path.ends_with("/live") || self.path.starts_with("/assets/");
        let sees = (200..400).contains(&answer.status) || is_elsewhere;
        assert!(self.is_write() || sees, "{}: {answer:?}", self.name(caller));
    }
}

impl TestDatabase {
    async fn is_as(&self, before: &Dump, caller: &str) {
        let now = self.dump().await;
        for (table, rows) in before {
            assert_eq!(Some(rows), now.get(table), "{caller} changes {table}");
        }
    }
}

async fn who_may_not_changes_nothing_and_who_may_is_let_in(db: &TestDatabase) {
    let callers = Callers::come(db).await;
    let (all, mut count) = (Asked::all(), 0);
    let before = db.dump().await;
    for asked in &all {
        let refused = callers.refused(asked);
        count += refused.len();
        for one in refused {
            one.asks(asked);
        }
        // What a look changes is seen with the next write, or in the end: a look at all tables takes its time.
        if asked.is_write() {
            db.is_as(&before, &asked.name("somebody who may not")).await;
        }
    }
    db.is_as(&before, "somebody who may not look").await;
    let mut otherwise = Vec::new();
    for asked in &all {
        // What they may not do would have done something: this does.
        for (number, caller) in LetIn::all(asked).into_iter().enumerate() {
            let request = caller.request(&callers, asked, db).await;
            let is_first_write = number == 0 && asked.is_write();
            let before = if is_first_write { db.dump().await } else { Dump::new() };
            let answer = request.answer();
            asked.is_let_in(&answer, &caller.name);
            if is_first_write {
                let does = before != db.dump().await;
                if does != asked.line.changes {
                    otherwise.push((asked.name(&caller.name), does, answer.status, answer.text()));
                }
            }
            count += 1;
        }
    }
    assert!(otherwise.is_empty(), "what changes something, or does not, is otherwise: {otherwise:#?}");
    println!("{} routes, {count} requests", API.len() + CONSOLE.len());
}
