//! On PostgreSQL the program runs with a role that can neither change the schema nor delete what is kept.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

use super::console::Browser;
use super::{ACCOUNTS, DEBITS, amqp_url};
use crate::program::{DEADLINE, Program};
use crate::support::database::{Engine, TABLES, TABLES_OF_POSTGRES, TestDatabase};
use crate::support::wait_until;

/// As it is shipped.
const ROLES: &str = include_str!("../../config/postgres-roles.sql");

const PASSWORD: &str = "correct horse battery";

fn url_of(db: &TestDatabase, role: &str) -> String {
    let mut url = url::Url::parse(&db.url()).unwrap();
    url.set_username(role).unwrap();
    url.into()
}

/// By the owner's `migrate`, between the two runs of the file.
async fn installed(db: &TestDatabase) -> Program {
    // Roles are the server's, and so is the moment in which they are missing.
    static MAKING: Mutex<()> = Mutex::const_new(());
    let making = MAKING.lock().await;
    db.sql(ROLES).await;
    drop(making);
    let program = Program::new(db.folder(), url_of(db, "disconnectd"), amqp_url());
    let early = program.serve(&[]).ended();
    assert_eq!(early.0, Some(1), "{early:?}");
    assert!(early.1.contains("run `disconnectd migrate` as the owner of the tables"), "{early:?}");
    let refused = program.run(&["migrate"]).exits(1);
    assert!(refused.stderr.contains("run `disconnectd migrate` as the owner of the tables"), "{refused:#?}");
    Program::new(db.folder(), url_of(db, "disconnectd_owner"), amqp_url()).run(&["migrate"]).exits(0);
    let refused = program.run(&["accounts", "list"]).exits(1);
    assert!(refused.stderr.contains("config/postgres-roles.sql"), "{refused:#?}");
    // As where the migration was not allowed to create the extension.
    db.sql("drop index accounts_searched; drop index serviceable_addresses_searched").await;
    db.sql(ROLES).await;
    let indexes = "select count(*) from pg_indexes where indexdef like '%gin_trgm_ops%'";
    assert_eq!(db.number(indexes).await, 2, "a search goes by them");
    program.run(&["migrate"]).exits(0);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_that_the_program_runs_with_can_do_everything_that_it_has_to() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await;
        program.write("accounts.csv", ACCOUNTS);
        program.write("debits.csv", DEBITS);
        program.write("list.csv", "account_number\n1001\n1002\n");
        for arguments in [
            &["import", "accounts", "accounts.csv"][..],
            &["import", "accounts", "accounts.csv"],
            &["import", "debits", "debits.csv"],
            &["statuses", "add", "Gone"],
            &["settings", "set", "company_zone", "Europe/Berlin"],
            &["accounts", "contact", "1002", "--email", "ben@example.com"],
            &["accounts", "unlink", "1002"],
            &["accounts", "link", "1002", "--parent", "1001"],
            &["log", "1002"],
            &["overview", "1001"],
        ] {
            program.run(arguments).exits(0);
        }
        // Other groups, and so it leaves one.
        program.write("moved.csv", ACCOUNTS.replace("tower-3;fiber", "tower-4"));
        program.run(&["import", "accounts", "moved.csv"]).exits(0);

        let planned = program.json(&["schedule", "1003", "--on", "2099-01-01", "--yes"]);
        let planned = planned["id"].as_i64().or_else(|| planned["event"]["id"].as_i64()).unwrap().to_string();
        program.run(&["events", "reschedule", &planned, "--on", "2099-02-01"]).exits(0);
        program.run(&["events", "cancel", &planned]).exits(0);

        let served = program.serve(&[]);
        program.run(&["disconnect", "1003", "--yes"]).exits(0);
        let campaign =
            ["campaign", "create", "--name", "Leavers", "--accounts", "list.csv", "--children", "disconnect"];
        let id = program.json(&campaign)["id"].to_string();
        program.run(&["campaign", "dry-run", &id]).exits(0);
        program.run(&["campaign", "start", &id, "--yes"]).exits(0);
        let ended = "select count(*) from campaigns where state = 'completed'";
        wait_until(DEADLINE, "the campaign ends", async || db.number(ended).await == 1).await;
        program.run(&["campaign", "report", &id]).exits(0);

        let made = program.json(&["tokens", "create", "--name", "ada", "--role", "admin"]);
        let token = made["token"].as_str().unwrap();
        // Twice with the same key: the answer is kept, and told again.
        for _ in 0..2 {
            let call = served.bare_request("POST", "/api/v1/statuses").token(token).header("Idempotency-Key", "once");
            let answer = call.json(&json!({ "name": "Moved", "activates_account": false })).answer();
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        program.run(&["tokens", "revoke", &made["id"].to_string()]).exits(0);

        let create = ["users", "create", "--name", "ada", "--role", "viewer", "--password-file", "-"];
        program.run_with_input(&create, PASSWORD).exits(0);
        let mut browser = Browser::new(&served);
        browser.signs_in("ada", "wrong horse battery").is(401);
        browser.signs_in("ada", PASSWORD).is(303);
        assert!(browser.page("/accounts").contains("Ada Miller"));
        program.run(&["users", "disable", "ada"]).exits(0);
        program.run(&["doctor"]).exits(0);
        served.signal("TERM");
        let (code, log) = served.ended();
        assert!(code == Some(0) && !log.contains("permission denied"), "{log}");
        assert_eq!(db.number("select count(*) from accounts where disconnected_at is not null").await, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_that_the_program_runs_with_can_take_nothing_away() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await;
        program.write("accounts.csv", ACCOUNTS);
        program.run(&["import", "accounts", "accounts.csv"]).exits(0);
        program.run(&["schedule", "1003", "--on", "2099-01-01", "--yes"]).exits(0);
        let mut role = PgConnection::connect(&url_of(db, "disconnectd")).await.unwrap();
        let mut statements: Vec<String> = [
            "create table anything (id bigint)",
            "alter table accounts add column anything text",
            "alter table account_log disable trigger all",
            "drop trigger account_log_keep on account_log",
            "drop function refuse_change() cascade",
            "create or replace function refuse_change() returns trigger language plpgsql as $$ begin return old; end $$",
            "set session_replication_role = replica",
            "set role disconnectd_owner",
            "create role anybody",
            "update account_log set message = ''",
            "update campaign_log set message = ''",
            "update invoices set total = 0",
            "update invoice_lines set total = 0",
            "update account_statuses set activates_account = true",
            "update installation set id = 'another'",
            "insert into _sqlx_migrations select * from _sqlx_migrations",
            "select setval('invoice_numbers', 1)",
        ]
        .map(str::to_owned)
        .to_vec();
        let short_lived = ["account_groups", "campaign_members", "campaign_tallies", "console_sessions"];
        let short_lived = [&short_lived[..], &["idempotency_keys", "sign_in_attempts", "sign_in_links"]].concat();
        for table in TABLES.into_iter().chain(TABLES_OF_POSTGRES) {
            statements.push(format!("drop table {table} cascade"));
            statements.push(format!("truncate {table} cascade"));
            // Events it may delete, where they go to the archive.
            if !short_lived.contains(&table) && table != "disconnect_events" {
                statements.push(format!("delete from {table}"));
            }
        }
        let before = db.dump().await;
        for statement in statements {
            let answer = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut role).await;
            let refusal = answer.expect_err(&statement).to_string();
            assert!(refusal.contains("permission denied") || refusal.contains("must be owner"), "{statement}: {refusal}");
        }
        // What it may write, the triggers keep.
        for statement in [
            "update accounts set number = 'another'",
            "delete from disconnect_events",
            // As if they were in the archive.
            "create temporary table archived_disconnect_events as select id from disconnect_events; \
             delete from disconnect_events",
        ] {
            let kept = sqlx::raw_sql(statement).execute(&mut role).await;
            assert!(kept.unwrap_err().to_string().contains("keeps all history"), "{statement}");
        }
        role.close().await.unwrap();
        assert!(db.dump().await == before, "nothing has changed");
    })
    .await;
}

/// Whoever may not create an extension has a slow search, and a sentence that says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_not_create_extensions_migrates_and_searches() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let role = format!("plain_{:016x}", rand::random::<u64>());
        db.sql(&format!("create role {role} login; grant create on schema public to {role}")).await;
        let program = Program::new(db.folder(), url_of(db, &role), amqp_url());
        let is_warned = || program.json(&["doctor"]).to_string().contains("a search reads all accounts");
        program.run(&["migrate"]).exits(0);
        program.write("accounts.csv", ACCOUNTS);
        program.run(&["import", "accounts", "accounts.csv"]).exits(0);
        let found = program.json(&["accounts", "list", "--search", "1002"]);
        assert_eq!(found["items"][0]["number"], "1002", "{found:#}");
        assert!(is_warned());
        // Somebody else has made it, where this role may not look.
        db.sql(&format!(
            "create schema others; create extension pg_trgm schema others; drop owned by {role};
             grant create on schema public to {role}"
        ))
        .await;
        program.run(&["migrate"]).exits(0);
        assert!(is_warned());
        db.sql(&format!(
            "drop owned by {role}; grant create on schema public to {role}; grant usage on schema others to {role}"
        ))
        .await;
        program.run(&["migrate"]).exits(0);
        assert!(!is_warned());
        db.sql(&format!("drop owned by {role}; drop role {role}")).await;
    })
    .await;
}

/// The file makes the indexes where it comes before the migration that would.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_may_come_before_a_migration_or_after() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let program = installed(db).await;
        let indexes = async || db.number("select count(*) from pg_indexes where indexdef like '%gin_trgm_ops%'").await;
        db.sql(
            "drop index address_assignments_address; drop index accounts_searched;
             drop index serviceable_addresses_searched; delete from _sqlx_migrations where version = 11",
        )
        .await;
        db.sql(ROLES).await;
        assert_eq!(indexes().await, 2, "by the file");
        db.sql("drop index serviceable_addresses_searched").await;
        Program::new(db.folder(), url_of(db, "disconnectd_owner"), amqp_url()).run(&["migrate"]).exits(0);
        assert_eq!(indexes().await, 2, "by the migration, which found the other");
        program.run(&["accounts", "list"]).exits(0);
    })
    .await;
}
