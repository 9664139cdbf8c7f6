//! The archive, as operators and clerks meet it.

use super::{amqp_url, with_a_family};
use crate::program::{DEADLINE, Program};
use crate::support::database::{Engine, TestDatabase};
use crate::support::wait_until;

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_archives_what_ended_long_ago_and_nobody_can_tell() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = with_a_family(db).await;
        let served = program.serve(&[]);
        served.until_ready_is(200);
        let ids = ["1001", "1002"].map(|account| {
            program.json(&["disconnect", account, "--yes", "--children", "keep"])["id"].as_i64().unwrap().to_string()
        });
        let api = |path: &str| served.request("GET", path).answer().is(200).json();
        let shown = || {
            let by_command = [
                &["events", "show", &ids[0]][..],
                &["events", "list"],
                &["events", "list", "--state", "completed"],
                &["events", "list", "--account", "1001"],
                &["accounts", "show", "1001"],
                &["log", "1001"],
                &["invoices", "list"],
            ]
            .map(|arguments| program.json(arguments));
            let by_api = ["/api/v1/events", "/api/v1/events?limit=1", &format!("/api/v1/events/{}", ids[0])].map(api);
            (by_command, by_api)
        };
        // As if 1001 had been disconnected a week ago: for who serves so far, that is not long enough.
        db.sql(&format!("update disconnect_events set ended_at = ended_at - interval '7 days' where id = {}", ids[0]))
            .await;
        let before = shown();
        let weekly = "[scheduler]\narchive_after_days = 7\nsweep = \"* * * * * *\"\n";
        let scheduler = Program::new(db.folder(), db.url(), amqp_url()).configured(weekly);
        let scheduler = scheduler.serve(&["--roles", "scheduler"]);
        wait_until(DEADLINE, "it is archived", async || db.count("archived_disconnect_events").await == 1).await;
        assert_eq!(shown(), before);
        assert_eq!(db.texts("select cast(id as text) from disconnect_events").await, [ids[1].clone()]);
        let refused = program.run(&["events", "cancel", &ids[0]]).exits(3);
        assert!(refused.stderr.contains("was disconnected by it"), "{refused:#?}");
        let again = program.json(&["disconnect", "1001", "--yes"]);
        assert_eq!(again["id"].as_i64().map(|id| id.to_string()).as_ref(), Some(&ids[0]), "{again}");
        program.run(&["doctor"]).exits(0);
        let counted = async || scheduler.ask("/metrics").unwrap().1.contains("disconnectd_archived_total 1\n");
        wait_until(DEADLINE, "it is counted", counted).await;
    })
    .await;
}
