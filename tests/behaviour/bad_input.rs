//! Bad input: each a sentence that names the place and the way out, the right exit code, and nothing half done.

use super::{ACCOUNTS, both_pairs, installed, queue_url, with_a_family};
use crate::program::Program;
use crate::support::database::{Engine, TestDatabase};

both_pairs!(unknown_names_are_refused, bad_files_change_nothing, good_files_from_a_spreadsheet_are_fine);

async fn unknown_names_are_refused(db: &TestDatabase) {
    let program = with_a_family(db).await;
    for (arguments, code, part) in [
        (&["accounts", "show", "9999"][..], 3, "no account 9999"),
        (&["disconnect", "9999", "--yes"], 3, "no account 9999"),
        (&["schedule", "9999", "--on", "2099-01-01", "--yes"], 3, "no account 9999"),
        (&["overview", "9999"], 3, "no account 9999"),
        (&["log", "9999"], 3, "no account 9999"),
        (&["events", "show", "77"], 3, "no event 77"),
        (&["events", "cancel", "77"], 3, "no event 77"),
        (&["events", "retry", "77"], 3, "no event 77"),
        (&["invoices", "show", "77"], 3, "no invoice 77"),
        (&["schedule", "1001", "--on", "tomorrow", "--yes"], 2, "2026-12-01"),
        (&["schedule", "1001", "--on", "2099-02-30", "--yes"], 2, "2099-02-30"),
        (&["schedule", "1001", "--on", "2099-01-01", "--zone", "Mars/Olympus", "--yes"], 2, "Mars/Olympus"),
        (&["events", "list", "--after", "zzz"], 2, "--after"),
        (&["invoices", "list", "--after", "zzz"], 2, "--after"),
        (&["log", "1001", "--after", "zzz"], 2, "--after"),
        (&["settings", "set", "disconnect_status", "Active"], 3, "activates accounts"),
        (&["settings", "set", "disconnect_status", "Gone"], 3, "`Gone`"),
        (&["settings", "set", "company_zone", "Nowhere"], 2, "`Nowhere`"),
        (&["settings", "set", "campaign_window", "mon 09:00-09:00"], 2, "never opens"),
        (&["settings", "set", "campaign_pause_percent", "0"], 2, "1 to 100"),
        (&["settings", "set", "colour", "red"], 2, "colour"),
        (&["statuses", "add", "Active"], 3, "Active"),
        (&["accounts", "link", "1001", "--parent", "1002"], 3, "below"),
        (&["accounts", "link", "1001", "--parent", "1001"], 3, "its own parent"),
        (&["accounts", "unlink", "1002"], 3, "neither an email"),
        (&["import", "accounts", "nowhere.csv"], 1, "nowhere.csv"),
        (&["--config", "nowhere.toml", "accounts", "list"], 1, "nowhere.toml"),
    ] {
        let refused = program.run(arguments).exits(code);
        assert!(refused.stderr.contains(part), "{arguments:?} should say {part}: {refused:#?}");
        assert!(!refused.stderr.contains("panicked"), "{refused:#?}");
    }
    assert_eq!(db.number("select count(*) from disconnect_events").await, 0);
    for (list, part) in [("accounts", "No account matches"), ("events", "No event matches"), ("invoices", "no more")] {
        let rest = program.run(&[list, "list", "--after", "999999999"]).exits(0);
        assert!(rest.stdout.contains(part), "behind the last is not nothing at all: {rest:#?}");
    }
}

/// A header, then lines; the line and the column that the report must name.
const BAD_ACCOUNTS: [(&str, &str, &str); 11] = [
    ("1,A,Active,,USD,,,,,\n2,B,Nope,,USD,,,,,\n", "3", "status"),
    ("1,A,Active,,DOGE,,,,,\n", "2", "currency"),
    ("1,A,Active,,USD,Mars/Olympus,,,,\n", "2", "zone"),
    ("1,A,Active,77,USD,,,,,\n", "2", "parent_number"),
    ("1,A,Active,2,USD,,,,,\n2,B,Active,1,USD,,,,,\n", "2", "parent_number"),
    ("1,A,Active,1,USD,,,,,\n", "2", "parent_number"),
    ("1,A,Active,,USD,,,,,\n1,B,Active,,USD,,,,,\n", "3", "number"),
    (",A,Active,,USD,,,,,\n", "2", "number"),
    ("1,A\n", "2", ""),
    ("1,A,Active,,USD,,\"12 Elm", "2", ""),
    ("1,A,,,USD,,,,,\n", "2", "status"),
];

const BAD_DEBITS: [(&str, &str, &str); 7] = [
    ("1001,x,Charge,12.345,,2026-11-01\n", "2", "amount"),
    ("1001,x,Charge,twelve,,2026-11-01\n", "2", "amount"),
    ("1001,x,Charge,-1,,2026-11-01\n", "2", "amount"),
    ("1001,x,Charge,1,nothing,2026-11-01\n", "2", "tax"),
    ("1001,x,Charge,1,,01.11.2026\n", "2", "charged_on"),
    ("9999,x,Charge,1,,2026-11-01\n", "2", "account_number"),
    ("1001,x,Charge,1,,2026-11-01\n1001,x,Charge,2,,2026-11-01\n", "3", "reference"),
];

async fn bad_files_change_nothing(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let before = db.dump().await;
    let accounts = ACCOUNTS.lines().next().unwrap();
    let debits = super::DEBITS.lines().next().unwrap();
    for (kind, header, cases) in [("accounts", accounts, &BAD_ACCOUNTS[..]), ("debits", debits, &BAD_DEBITS[..])] {
        for (lines, line, column) in cases {
            program.write("bad.csv", format!("{header}\n{lines}"));
            let refused = program.run(&["import", kind, "bad.csv"]).exits(1);
            let told = refused.stdout.clone() + &refused.stderr;
            assert!(told.contains(&format!("line {line}")), "{lines}: {refused:#?}");
            let refused = program.run(&["--json", "import", kind, "bad.csv"]).exits(1);
            let report = refused.json();
            assert_eq!(report["applied"], false, "{report}");
            assert_eq!(report["problems"][0]["line"].to_string(), *line, "{report}");
            assert_eq!(report["problems"][0]["column"].as_str().unwrap_or_default(), *column, "{lines}: {report}");
        }
    }
    for (content, part) in [
        (b"number;name;status\n1;A;Active\n".to_vec(), "number,name,status,parent_number"),
        (b"".to_vec(), "empty"),
        ([accounts.as_bytes(), b"\n1,\xff\xfe,Active,,USD,,,,,\n"].concat(), "UTF-8"),
    ] {
        program.write("bad.csv", content);
        let refused = program.run(&["import", "accounts", "bad.csv"]).exits(1);
        assert!((refused.stdout.clone() + &refused.stderr).contains(part), "{part}: {refused:#?}");
    }
    assert_eq!(db.dump().await, before, "nothing half done");
}

async fn good_files_from_a_spreadsheet_are_fine(db: &TestDatabase) {
    let program = installed(db).await;
    let spreadsheet = format!("\u{feff}{}", ACCOUNTS.replace('\n', "\r\n"));
    let report = program.run_with_input(&["--json", "import", "accounts", "-"], &spreadsheet).exits(0).json();
    assert_eq!((&report["created"], &report["applied"]), (&3.into(), &true.into()));
    let before = db.dump().await;
    let again = program.run_with_input(&["--json", "import", "accounts", "-"], &spreadsheet).exits(0).json();
    assert_eq!((&again["unchanged"], &again["updated"]), (&3.into(), &0.into()));
    assert_eq!(db.dump().await, before, "importing again changes nothing");
}

/// Servers that are not there, or do not let us in.
#[tokio::test(flavor = "multi_thread")]
async fn unreachable_and_unwilling_servers_are_named() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let password_url = std::env::var("DISCONNECTD_TEST_POSTGRES_PASSWORD_URL").unwrap();
        for (url, part) in [
            ("postgres://nobody:secret@127.0.0.1:1/none".to_owned(), "does not answer"),
            (password_url.replace(":right@", ":wrong@"), "password"),
            (format!("{}_is_not_there", db.url()), "is_not_there"),
        ] {
            let begun = std::time::Instant::now();
            let refused = Program::new(db.folder(), &url, queue_url(db)).run(&["accounts", "list"]).exits(1);
            assert!(refused.stderr.contains(part), "{refused:#?}");
            assert!(!refused.stderr.contains("secret") && !refused.stderr.contains("wrong@"), "{refused:#?}");
            assert!(begun.elapsed().as_secs() < 15, "away for more than 5 s is a failure, not a wait");
        }
        for url in ["mysql://u:secret@h/d", "disconnectd.db", "postgres://[oops"] {
            let refused = Program::new(db.folder(), url, "memory:").run(&["accounts", "list"]).exits(2);
            assert!(refused.stderr.contains("DISCONNECTD_DATABASE_URL"), "{refused:#?}");
            assert!(!refused.stderr.contains("secret"), "{refused:#?}");
        }
        let empty = Program::new(db.folder(), db.url(), queue_url(db)).run(&["accounts", "list"]).exits(1);
        assert!(empty.stderr.contains("disconnectd migrate"), "{empty:#?}");
    })
    .await;
}

/// A configuration file says where it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_named() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = installed(db).await;
        for (toml, part) in [
            ("[worker]\nlops = 1\n", "lops"),
            ("[scheduler]\nsweep = \"often\"\n", "scheduler.sweep"),
            ("[worker\n", "line 1"),
        ] {
            let path = program.write("wrong.toml", toml);
            let refused = program.run(&["--config", path.to_str().unwrap(), "accounts", "list"]);
            assert_eq!(refused.code, 1, "whatever is wrong in a file: {refused:#?}");
            assert!(refused.stderr.contains(part) && refused.stderr.contains("wrong.toml"), "{refused:#?}");
        }
        let both = Program::new(db.folder(), db.url(), "amqp://127.0.0.1").run(&["accounts", "list"]).exits(2);
        assert!(both.stderr.contains("DISCONNECTD_QUEUE_URL"), "SQLite goes with the memory queue only: {both:#?}");
    })
    .await;
}
