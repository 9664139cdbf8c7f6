//! The schema of both engines, compiled in: the same numbers, the same names.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

#[must_use]
pub fn sqlite() -> Migrator {
    migrator(&[(1, "disconnectd", include_str!("../../migrations/sqlite/0001_disconnectd.sql"))])
}

#[must_use]
pub fn postgres() -> Migrator {
    migrator(&[(1, "disconnectd", include_str!("../../migrations/postgres/0001_disconnectd.sql"))])
}

fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}
