//! Both engines have the same schema: the migrations have the same numbers and names, and make the same tables.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::database::{Engine, TABLES, TestDatabase};

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
async fn both_engines_have_the_same_tables_and_columns() {
    let mut columns = Vec::new();
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let db = TestDatabase::empty(engine).await;
        db.store.migrate().await.unwrap();
        columns.push(db.columns().await.into_iter().collect::<BTreeSet<_>>());
        db.remove().await;
    }
    assert_eq!(columns[0], columns[1]);
    let tables: BTreeSet<_> = columns[0].iter().map(|column| column.split_once('.').unwrap().0).collect();
    assert_eq!(tables, BTreeSet::from(TABLES), "the tests' dumps cover every table");
}
