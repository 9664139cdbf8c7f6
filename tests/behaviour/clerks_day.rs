//! The clerk's day, as a shell script lives it with curl and jq alone.

use std::path::Path;
use std::process::Command;

use super::{both_pairs, installed};
use crate::support::database::TestDatabase;

both_pairs!(a_clerks_day_over_http);

async fn a_clerks_day_over_http(db: &TestDatabase) {
    let program = installed(db).await;
    let token = program.json(&["tokens", "create", "--name", "clerk", "--role", "operator"]);
    let served = program.serve(&[]);
    let day = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clerks-day"))
        .arg(format!("http://{}", served.address))
        .env("DISCONNECTD_TOKEN", token["token"].as_str().unwrap())
        .output()
        .unwrap();
    let told = format!("{}\n{}", String::from_utf8_lossy(&day.stdout), String::from_utf8_lossy(&day.stderr));
    assert!(day.status.success() && told.contains("The day is done."), "{told}");
}
