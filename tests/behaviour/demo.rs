//! The demo: the main job on real data.

use super::{both_pairs, queue_url, with_a_family};
use crate::program::Program;
use crate::support::database::{Engine, TestDatabase};

both_pairs!(the_sample_adds_up_and_a_second_run_starts_over, another_database_is_left_alone);

async fn the_sample_adds_up_and_a_second_run_starts_over(db: &TestDatabase) {
    let program = Program::new(db.folder(), db.url(), queue_url(db));
    let summary = program.json(&["demo"]);
    assert_eq!(summary["customers"], 7043);
    assert_eq!(summary["disconnected"], 1869);
    assert_eq!(summary["final_invoices"], 1869);
    assert_eq!(summary["final_invoices_total"]["amount"], "139130.85");
    assert_eq!(summary["addresses_freed"], 1869);
    assert!(summary["children_left_connected"].as_i64().unwrap() > 0);
    assert_eq!(summary["failed"], 0);
    assert_eq!(db.number("select count(*) from accounts").await, 7043);
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 1869);
    assert_eq!(db.number("select cast(sum(total) as bigint) from invoices where kind = 'final'").await, 13_913_085);
    // Those due later were waited for.
    assert_eq!(db.number("select count(*) from disconnect_events where ended_at < due_at").await, 0);

    // The same start, without the disconnects.
    let loaded = program.json(&["demo", "--load"]);
    assert_eq!((&loaded["customers"], &loaded["leaving"]), (&7043.into(), &1869.into()));
    assert_eq!(db.number("select count(*) from accounts").await, 7043);
    assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 0);
    assert_eq!(db.count("disconnect_events").await, 0);
    assert_eq!(db.number("select count(*) from invoices where kind = 'final'").await, 0);
}

async fn another_database_is_left_alone(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let refused = program.run(&["demo"]).exits(3);
    assert!(refused.stderr.contains("leaves it alone"), "{refused:#?}");
    assert_eq!(db.number("select count(*) from accounts").await, 3);
}

/// Without configuration the demo has a file of its own, and touches no other.
#[tokio::test(flavor = "multi_thread")]
async fn without_configuration_it_works_in_its_own_file() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let folder = db.folder().join("elsewhere");
        std::fs::create_dir(&folder).unwrap();
        let program = Program::new(&folder, "", "");
        let other = program.write("disconnectd.db", "not the demo's");
        let told = program.run(&["demo"]).exits(0);
        assert!(told.stdout.contains("139,130.85 USD"), "{told:#?}");
        assert!(folder.join("disconnectd-demo.db").exists());
        assert_eq!(std::fs::read_to_string(other).unwrap(), "not the demo's");
    })
    .await;
}
