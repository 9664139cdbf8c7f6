//! Both engines have the same schema: the migrations have the same numbers and names, and make the same tables.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::database::{Engine, TABLES, TABLES_OF_POSTGRES, TestDatabase};

fn migrations(engine: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn both_engines_have_migrations_of_the_same_numbers_and_names() {
    let postgres = migrations("postgres");
    assert!(!postgres.is_empty());
    assert_eq!(postgres, migrations("sqlite"));
}

#[tokio::test]
async fn both_engines_have_the_same_tables_views_and_columns() {
    let mut columns = Vec::new();
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let db = TestDatabase::empty(engine).await;
        db.store.migrate().await.unwrap();
        columns.push(db.columns().await.into_iter().collect::<BTreeSet<_>>());
        db.remove().await;
    }
    let of_table = |column: &str, table: &str| column.split_once('.').unwrap().0 == table;
    let (postgres, sqlite) = (&columns[0], &columns[1]);
    let alike = postgres.iter().filter(|column| !TABLES_OF_POSTGRES.iter().any(|table| of_table(column, table)));
    assert_eq!(alike.collect::<BTreeSet<_>>(), sqlite.iter().collect());
    let tables: BTreeSet<_> = postgres.iter().map(|column| column.split_once('.').unwrap().0).collect();
    let dumped = TABLES.iter().chain(&TABLES_OF_POSTGRES).chain(&["all_disconnect_events"]).copied();
    assert_eq!(tables, dumped.collect(), "the tests' dumps cover every table");
    let of = |table: &str| -> BTreeSet<_> {
        postgres
            .iter()
            .filter(|column| of_table(column, table))
            .map(|column| column.split_once('.').unwrap().1)
            .collect()
    };
    assert_eq!(of("archived_disconnect_events"), of("disconnect_events"), "a row moves as it is");
    assert_eq!(of("all_disconnect_events"), of("disconnect_events"));
}
