//! Tokens over HTTP. Who may ask for what with which, is in `behaviour::matrix`.

use serde_json::Value;

use super::get;
use crate::behaviour::{both_pairs, installed};
use crate::support::database::TestDatabase;

both_pairs!(a_revoked_token_is_good_for_nothing_at_once);

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
