//! What users see, through the program itself: its commands, its processes, its exit codes. On both engine pairs.

mod api;
mod archive;
mod bad_input;
mod campaigns;
mod changes;
mod clerk;
mod clerks_day;
mod cluster;
pub mod console;
mod dead_letters;
mod demo;
mod families;
mod matrix;
mod outages;
mod poison;
mod roles;
mod secrets;
mod serving;
mod sizes;
mod slow;
mod tls;
mod tokens;
mod traces;
mod watching;

use crate::program::Program;
use crate::support::database::{Engine, TestDatabase};

/// Makes of each `async fn NAME(db: &TestDatabase)` two tests on an empty database, one for each engine pair.
macro_rules! both_pairs {
    ($($name:ident),+ $(,)?) => {
        mod at_scale {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                use crate::support::database::{Engine, TestDatabase};
                TestDatabase::run_on_empty(Engine::Postgres, super::$name).await;
            })+
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                use crate::support::database::{Engine, TestDatabase};
                TestDatabase::run_on_empty(Engine::Sqlite, super::$name).await;
            })+
        }
    };
}
pub(crate) use both_pairs;

/// The queue that goes with a database.
fn queue_url(db: &TestDatabase) -> String {
    match db.engine() {
        Engine::Sqlite => "memory:".into(),
        Engine::Postgres => amqp_url(),
    }
}

fn amqp_url() -> String {
    std::env::var("DISCONNECTD_TEST_AMQP_URL")
        .unwrap_or_else(|_| panic!("DISCONNECTD_TEST_AMQP_URL is not set: run tests/run, which starts the servers"))
}

/// The program on this database, migrated.
async fn installed(db: &TestDatabase) -> Program {
    let program = Program::new(db.folder(), db.url(), queue_url(db));
    program.run(&["migrate"]).exits(0);
    db.store.check_schema().await.unwrap();
    db.probe_token().await;
    program
}

const ACCOUNTS: &str = "\
number,name,status,parent_number,currency,zone,address,email,mailing_address,groups
1001,Ada Miller,Active,,USD,America/New_York,12 Elm Street,ada@example.com,,tower-3;fiber
1002,Ben Miller,Active,1001,USD,America/New_York,12 Elm Street,,,tower-3
1003,Cleo Jones,Lead,,EUR,Europe/Berlin,,cleo@example.com,,
";

const DEBITS: &str = "\
account_number,reference,description,amount,tax,charged_on
1001,2026-11,Monthly charge November,49.90,4.12,2026-11-01
1001,router,Router not returned,80.00,6.60,2026-11-12
1002,2026-11,Monthly charge November,19.90,1.64,2026-11-01
";

/// The program with three accounts: a family of two, and one that owes nothing.
async fn with_a_family(db: &TestDatabase) -> Program {
    let program = installed(db).await;
    program.write("accounts.csv", ACCOUNTS);
    program.write("debits.csv", DEBITS);
    program.run(&["import", "accounts", "accounts.csv"]).exits(0);
    program.run(&["import", "debits", "debits.csv"]).exits(0);
    program
}

/// The first line of a file.
fn header(file: &str) -> String {
    file.split_inclusive('\n').next().unwrap_or_default().to_owned()
}
