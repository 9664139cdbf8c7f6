//! The schema, embedded in the program, and whether a database has it.
//!
//! Both engines have the same migrations: same numbers, same names. One that was released is never changed.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::{StoreError, StoreResult};

/// One step of the schema, in the SQL of either engine: `migrations/*/NNNN_name.sql`.
struct Step {
    version: i64,
    name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

/// By ascending version.
const STEPS: [Step; 13] = [
    Step {
        version: 1,
        name: "disconnectd",
        postgres: include_str!("../../migrations/postgres/0001_disconnectd.sql"),
        sqlite: include_str!("../../migrations/sqlite/0001_disconnectd.sql"),
    },
    Step {
        version: 2,
        name: "tokens",
        postgres: include_str!("../../migrations/postgres/0002_tokens.sql"),
        sqlite: include_str!("../../migrations/sqlite/0002_tokens.sql"),
    },
    Step {
        version: 3,
        name: "families",
        postgres: include_str!("../../migrations/postgres/0003_families.sql"),
        sqlite: include_str!("../../migrations/sqlite/0003_families.sql"),
    },
    Step {
        version: 4,
        name: "campaigns",
        postgres: include_str!("../../migrations/postgres/0004_campaigns.sql"),
        sqlite: include_str!("../../migrations/sqlite/0004_campaigns.sql"),
    },
    Step {
        version: 5,
        name: "console",
        postgres: include_str!("../../migrations/postgres/0005_console.sql"),
        sqlite: include_str!("../../migrations/sqlite/0005_console.sql"),
    },
    Step {
        version: 6,
        name: "calendar",
        postgres: include_str!("../../migrations/postgres/0006_calendar.sql"),
        sqlite: include_str!("../../migrations/sqlite/0006_calendar.sql"),
    },
    Step {
        version: 7,
        name: "coming",
        postgres: include_str!("../../migrations/postgres/0007_coming.sql"),
        sqlite: include_str!("../../migrations/sqlite/0007_coming.sql"),
    },
    Step {
        version: 8,
        name: "search",
        postgres: include_str!("../../migrations/postgres/0008_search.sql"),
        sqlite: include_str!("../../migrations/sqlite/0008_search.sql"),
    },
    Step {
        version: 9,
        name: "traces",
        postgres: include_str!("../../migrations/postgres/0009_traces.sql"),
        sqlite: include_str!("../../migrations/sqlite/0009_traces.sql"),
    },
    Step {
        version: 10,
        name: "archive",
        postgres: include_str!("../../migrations/postgres/0010_archive.sql"),
        sqlite: include_str!("../../migrations/sqlite/0010_archive.sql"),
    },
    Step {
        version: 11,
        name: "trigrams",
        postgres: include_str!("../../migrations/postgres/0011_trigrams.sql"),
        sqlite: include_str!("../../migrations/sqlite/0011_trigrams.sql"),
    },
    Step {
        version: 12,
        name: "steady",
        postgres: include_str!("../../migrations/postgres/0012_steady.sql"),
        sqlite: include_str!("../../migrations/sqlite/0012_steady.sql"),
    },
    Step {
        version: 13,
        name: "open_by_number",
        postgres: include_str!("../../migrations/postgres/0013_open_by_number.sql"),
        sqlite: include_str!("../../migrations/sqlite/0013_open_by_number.sql"),
    },
];

/// The version of the schema that this program was made for.
pub const VERSION: i64 = STEPS[STEPS.len() - 1].version;

#[must_use]
pub fn postgres() -> Migrator {
    migrator(|step| step.postgres)
}

#[must_use]
pub fn sqlite() -> Migrator {
    migrator(|step| step.sqlite)
}

fn migrator(sql: impl Fn(&Step) -> &'static str) -> Migrator {
    let migration = |step: &Step| {
        Migration::new(step.version, step.name.into(), MigrationType::Simple, sql(step).into_sql_str(), false)
    };
    Migrator::with_migrations(STEPS.iter().map(migration).collect())
}

/// Whether a database can be used whose newest migration is `found` (`None`: it has none).
///
/// # Errors
/// [`StoreError::Unusable`] with what to do, where it is older (or empty) or newer.
pub fn check_version(found: Option<i64>) -> StoreResult<()> {
    check(found, VERSION)
}

/// Whether a database can be brought up to date: empty, older or current.
///
/// # Errors
/// [`StoreError::Unusable`] for a database newer than the program.
pub fn check_migratable(found: Option<i64>) -> StoreResult<()> {
    if found.is_some_and(|found| found > VERSION) { check_version(found) } else { Ok(()) }
}

fn check(found: Option<i64>, needed: i64) -> StoreResult<()> {
    let sentence = match found {
        None => format!("the database is empty, this program needs version {needed}: run `disconnectd migrate`"),
        Some(found) if found < needed => format!(
            "the database is at version {found}, this program needs version {needed}: run `disconnectd migrate`"
        ),
        Some(found) if found > needed => {
            format!("the database is at version {found}, newer than this program ({needed}): use a newer disconnectd")
        }
        Some(_) => return Ok(()),
    };
    Err(StoreError::Unusable(sentence))
}

/// What a failed migration means; `of_engine` reads the errors of the engine itself.
pub(super) fn failure(error: MigrateError, of_engine: impl Fn(sqlx::Error) -> StoreError) -> StoreError {
    match error {
        MigrateError::Execute(error) => of_engine(error),
        MigrateError::ExecuteMigration(error, version) => match of_engine(error) {
            StoreError::Rejected(error) => StoreError::Unusable(format!(
                "migration {version} can't be applied to this database, and nothing of it was: {error}"
            )),
            other => other,
        },
        MigrateError::VersionMismatch(version) => StoreError::Unusable(format!(
            "migration {version} in the database is not the one in this program: they come from different builds of \
             disconnectd; use the one that made the database"
        )),
        MigrateError::VersionMissing(version) => StoreError::Unusable(format!(
            "the database has migration {version}, which this program does not know: use a newer disconnectd"
        )),
        MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "migration {version} was begun and not ended: restore the database from before it and migrate again"
        )),
        other => StoreError::Unusable(format!("the database can't be migrated: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn files(engine: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        std::fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn every_migration_is_embedded_and_both_engines_have_the_same() {
        let embedded: BTreeSet<_> = STEPS.iter().map(|step| format!("{:04}_{}.sql", step.version, step.name)).collect();
        assert_eq!(files("postgres"), embedded);
        assert_eq!(files("sqlite"), embedded);
        assert!(STEPS.iter().map(|step| step.version).eq(1..=VERSION), "the numbers have no gaps");
    }

    #[test]
    fn a_database_of_another_version_is_refused_with_what_to_do() {
        let sentence = |found| check(found, 2).unwrap_err().to_string();
        assert!(sentence(None).contains("the database is empty"), "{}", sentence(None));
        assert!(sentence(None).contains("run `disconnectd migrate`"));
        assert!(sentence(Some(1)).contains("at version 1, this program needs version 2: run `disconnectd migrate`"));
        assert!(sentence(Some(3)).contains("newer than this program (2): use a newer disconnectd"));
        assert!(check(Some(2), 2).is_ok());
        assert!(check_migratable(None).is_ok());
        assert!(check_migratable(Some(VERSION + 1)).is_err());
    }
}
