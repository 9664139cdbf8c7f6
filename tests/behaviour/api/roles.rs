//! Who may ask for what: every route that is there, with every role, and with tokens that are none.

use std::path::Path;

use base64::Engine as _;
use disconnectd::domain::token::Role;
use serde_json::Value;

use super::get;
use crate::behaviour::{both_pairs, installed, with_a_family};
use crate::http::Request;
use crate::program::Served;
use crate::support::database::{Engine, TestDatabase};

both_pairs!(every_route_asks_for_its_role, a_revoked_token_is_good_for_nothing_at_once);

/// A route of the served document, with the role that it names.
struct Route {
    method: String,
    path: String,
    /// None where anybody may ask.
    role: Option<Role>,
}

/// With what is not there in place of the parameters, so that no call does anything.
fn routes(served: &Served) -> Vec<Route> {
    let document = get(served, "/api/openapi.json");
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"].as_str().map(|role| Role::parse(role).unwrap());
            let path = path.replace("{number}", "999999").replace("{id}", "999999");
            let path = path.replace("{key}", "none").replace("{file}", "none");
            assert!(!path.contains('{'), "{path} has a parameter that this test does not know");
            routes.push(Route { method: method.to_uppercase(), path, role });
        }
    }
    routes
}

fn ask(served: &Served, route: &Route) -> Request {
    served.bare_request(&route.method, &route.path)
}

async fn every_route_asks_for_its_role(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    for role in Role::ALL {
        db.known_token("clerk", role, role.as_str()).await;
    }
    let revoked = db.known_token("gone", Role::Admin, "revoked").await;
    db.store.revoke_token(revoked, &crate::support::scenario::clerk()).await.unwrap();

    let routes = routes(&served);
    let open: Vec<_> = routes.iter().filter(|route| route.role.is_none()).map(|route| &*route.path).collect();
    assert_eq!(open, ["/healthz"], "this alone is for anybody");
    for route in &routes {
        let Some(needed) = route.role else {
            ask(&served, route).answer().is(200);
            continue;
        };
        let name = format!("{} {}", route.method, route.path);
        let refused = ask(&served, route).answer();
        assert!(refused.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")), "{name}");
        refused.problem(401, "token_missing");
        ask(&served, route).token("wrong").answer().problem(401, "token_unknown");
        ask(&served, route).token("revoked").answer().problem(401, "token_revoked");

        let password = base64::engine::general_purpose::STANDARD.encode("anybody:admin");
        let as_password = ask(&served, route).header("Authorization", &format!("Basic {password}")).answer();
        let is_for_browsers = !route.path.starts_with("/api/v1");
        assert_eq!(as_password.status != 401, is_for_browsers, "{name}: a browser sends a password by itself");

        for role in Role::ALL {
            let answer = ask(&served, route).token(role.as_str()).answer();
            if role.allows(needed) {
                assert!(answer.status != 401 && answer.status != 403, "{name} as {role}: {answer:?}");
            } else {
                let problem = answer.problem(403, "role_missing");
                assert_eq!(
                    (&problem["needed_role"], &problem["role"]),
                    (&needed.as_str().into(), &role.as_str().into())
                );
            }
        }
    }
    let roles = |wanted| routes.iter().filter(|route| route.role == Some(wanted)).count();
    assert!(roles(Role::Viewer) > 10 && roles(Role::Operator) > 8, "each has its routes");
    assert!(roles(Role::Approver) > 2 && roles(Role::Admin) > 4, "each has its routes");
}

async fn a_revoked_token_is_good_for_nothing_at_once(db: &TestDatabase) {
    let program = installed(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let created = program.json(&["tokens", "create", "--name", "ada", "--role", "viewer"]);
    let token = created["token"].as_str().unwrap();
    let asked = |path: &str| served.bare_request("GET", path).token(token).answer();
    asked("/api/v1/accounts").is(200);
    asked("/metrics").is(200);
    program.run(&["tokens", "revoke", &created["id"].to_string()]).exits(0);
    asked("/api/v1/accounts").problem(401, "token_revoked");
    asked("/metrics").problem(401, "token_revoked");

    let made =
        super::post(&served, "/api/v1/tokens", &serde_json::json!({ "name": "bo", "role": "admin" })).is(201).json();
    served.bare_request("GET", "/api/v1/tokens").token(made["token"].as_str().unwrap()).answer().is(200);
    let revoked =
        super::send(&served, "DELETE", &format!("/api/v1/tokens/{}", made["id"]), &Value::Null).is(200).json();
    assert_eq!(revoked["revoked_by"], "probe");
    assert!(!get(&served, "/api/v1/tokens").to_string().contains("dct_"), "none is shown again");
}

/// What is routed without being described would be in no document, and behind no role.
#[test]
fn every_route_is_in_the_document() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut described = 0;
    let mut files = vec![source.join("api.rs")];
    let mut folders = vec![source.join("api")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (inner, found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        files.extend(found);
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        described += text.matches("#[utoipa::path(").count();
        for around in [".route(", ".nest(", ".nest_service(", ".route_service(", ".fallback_service("] {
            assert!(!text.contains(around), "{} routes something around `routes!`: {around}", file.display());
        }
    }
    let database = TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        assert_eq!(routes(&served).len(), described, "each handler is routed, and in the document");
    });
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(database);
}
