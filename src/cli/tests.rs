use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate, Utc};
use clap::CommandFactory;
use clap::error::ErrorKind;

use super::overview::rendered;
use super::*;
use crate::domain::account::{AccountNumber, AccountView, Contact, Status};
use crate::domain::address::{Assignment, AssignmentId};
use crate::domain::event::EventId;
use crate::domain::family::{Family, Relative};
use crate::domain::invoice::{Debit, DebitId};
use crate::domain::money::{Currency, Money};
use crate::domain::overview::{Overview, OverviewFacts};
use crate::domain::plan::Snapshot;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::store::StoreError;

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("disconnectd").chain(line.split(' ')))
}

#[test]
fn what_there_is_to_say() {
    for line in [
        "demo --serve",
        "serve --roles scheduler,worker",
        "--json --config x.toml migrate",
        "import accounts - --dry-run",
        "import debits d.csv",
        "accounts list --search a --status Active --group g --parent -7 --disconnected --limit 1000 --after -7",
        "accounts show -- -17",
        "accounts show 7590-VHVEG --json",
        "accounts link 2 --parent 1",
        "accounts unlink 2",
        "accounts contact 2 --email a@b.c --no-mailing-address",
        "invoices list --account 1",
        "invoices show 12",
        "log 1 --limit 5",
        "statuses list",
        "statuses add Seasonal --activates",
        "settings show",
        "settings set cutoff_time 17:30",
        "overview 1 --on 2026-12-01T09:00 --zone Europe/Berlin",
        "disconnect 1 --reason -moved --yes --wait 0",
        "disconnect 1 --yes --no-wait",
        "schedule 1 --on 2026-12-01 --zone UTC --late --reason r --yes",
        "events list --state failed --account 1 --after 17",
        "events list --campaign 7 --state failed",
        "campaign create --name n --accounts - --on 2126-12-01 --zone UTC --late --reason -r --children keep",
        "campaign create --name n --where group=a --everyone --per-minute 600 --canary 10 --pause-percent 5",
        "campaign create --name n --accounts a.csv --window always --problems p.csv",
        "campaign change 7",
        "campaign change 7 --name n --accounts - --per-minute 0 --canary 0 --window always",
        "campaign dry-run 7 --blockers -",
        "campaign approve 7 --digest d --yes",
        "campaign start 7 --digest d --yes",
        "campaign pause 7 --reason r",
        "campaign resume 7",
        "campaign abort 7 --reason r --yes",
        "campaign retry 7",
        "campaign show 7 --json",
        "campaign watch 7 --wait 0",
        "campaign report 7 --format json --output r.json",
        "campaign list --state awaiting_approval --search a --limit 5 --after 17",
        "campaign template create --name n --where group=a --cron @daily --zone UTC --max-accounts 5 --canary 1",
        "campaign template list --limit 5",
        "campaign template show 3",
        "campaign template approve 3",
        "campaign template unapprove 3",
        "campaign template on 3",
        "campaign template off 3",
        "events show 7",
        "events cancel 7 --reason r",
        "events reschedule 7 --on now",
        "events retry 7",
        "tokens create --name ada --role operator",
        "tokens list --limit 5 --after 17",
        "tokens revoke 3",
        "doctor",
    ] {
        assert!(parsed(line).is_ok(), "{line}: {}", parsed(line).unwrap_err());
    }
}

#[test]
fn what_there_is_not_to_say_is_a_usage_error() {
    for line in [
        "disconnect",
        "disconnect 1 --no-wait --wait 3",
        "disconnect 1 --wait 86401",
        "schedule 1",
        "schedule 1 --on tomorrow",
        "schedule 1 --on 2026-12-01 --zone Mars",
        "overview 1 --on 2026-13-01",
        "accounts list --connected --disconnected",
        "accounts list --limit 0",
        "accounts list --limit 1001",
        "accounts contact 1",
        "accounts contact 1 --email a --no-email",
        "events list --state lost",
        "events list --after zzz",
        "events list --after 99999999999999999999",
        "invoices list --after -1",
        "log 1 --after zzz",
        "events list --campaign x",
        "campaign create --name n",
        "campaign create --accounts a.csv",
        "campaign create --name n --accounts a.csv --where group=a",
        "campaign create --name n --accounts a.csv --everyone",
        "campaign create --name n --where colour=red",
        "campaign create --name n --accounts a.csv --on tomorrow",
        "campaign create --name n --accounts a.csv --zone Mars",
        "campaign create --name n --accounts a.csv --children adopt",
        "campaign create --name n --accounts a.csv --per-minute -1",
        "campaign create --name n --accounts a.csv --window night",
        "campaign create --name n --accounts a.csv --pause-percent 101",
        "campaign dry-run seven",
        "campaign watch 7 --wait 86401",
        "campaign report 7 --format xml",
        "campaign list --state lost",
        "campaign template create --name n --where group=a --cron @daily --zone UTC",
        "campaign template create --name n --where group=a --cron daily --zone UTC --max-accounts 5",
        "campaign template create --name n --where group=a --cron @daily --zone UTC --max-accounts 0",
        "campaign template create --name n --where group=a --cron @daily --zone UTC --max-accounts 5 --on now",
        "campaign template show x",
        "events show x",
        "invoices show x",
        "tokens create --name ada",
        "tokens create --name ada --role root",
        "tokens list --after zzz",
        "tokens revoke ada",
        "settings set colour red",
        "serve --roles cook",
        "import accounts",
        "nonsense",
    ] {
        let error = parsed(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let long = "9".repeat(65);
    assert_eq!(parsed(&format!("accounts show {long}")).unwrap_err().exit_code(), 2);
    assert_eq!(parsed("--help").unwrap_err().kind(), ErrorKind::DisplayHelp);
}

#[test]
fn a_verb_takes_the_role_of_those_who_do_such_things() {
    for (role, lines) in [
        (
            token::Role::Viewer,
            &[
                "accounts list",
                "accounts show 1",
                "invoices list",
                "invoices show 1",
                "log 1",
                "statuses list",
                "settings show",
                "overview 1",
                "events list",
                "events show 7",
                "campaign dry-run 7",
                "campaign show 7",
                "campaign watch 7",
                "campaign report 7",
                "campaign list",
                "campaign template list",
                "campaign template show 3",
                "doctor",
            ][..],
        ),
        (
            token::Role::Operator,
            &[
                "import accounts -",
                "import debits - --dry-run",
                "accounts link 2 --parent 1",
                "accounts unlink 2",
                "accounts contact 2 --no-email",
                "disconnect 1 --yes",
                "schedule 1 --on now",
                "events cancel 7",
                "events reschedule 7 --on now",
                "events retry 7",
                "campaign create --name n --accounts -",
                "campaign change 7 --canary 1",
                "campaign start 7",
                "campaign pause 7",
                "campaign resume 7",
                "campaign abort 7",
                "campaign retry 7",
                "campaign template create --name n --where group=a --cron @daily --zone UTC --max-accounts 5",
                "campaign template on 3",
                "campaign template off 3",
            ],
        ),
        (
            token::Role::Approver,
            &["campaign approve 7", "campaign template approve 3", "campaign template unapprove 3"],
        ),
        (
            token::Role::Admin,
            &[
                "statuses add Seasonal",
                "settings set cutoff_time 17:30",
                "tokens create --name ada --role viewer",
                "tokens list",
                "tokens revoke 3",
            ],
        ),
    ] {
        for line in lines {
            let Command::Verb(verb) = parsed(line).unwrap().command else { panic!("{line}") };
            assert_eq!(verb.role(), role, "{line}");
        }
    }
}

#[test]
fn an_approval_is_somebodys_in_person() {
    for (line, needs_token) in [
        ("campaign approve 7", true),
        ("campaign template approve 3", true),
        ("campaign template unapprove 3", false),
        ("campaign start 7", false),
        ("tokens revoke 3", false),
    ] {
        let Command::Verb(verb) = parsed(line).unwrap().command else { panic!("{line}") };
        assert_eq!(verb.needs_token(), needs_token, "{line}");
    }
}

#[test]
fn every_verb_says_what_it_is_for() {
    fn look(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no purpose", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {} is not explained", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn number(text: &str) -> AccountNumber {
    AccountNumber::parse(text).unwrap()
}

fn relative(text: &str, name: &str, disconnected_at: Option<DateTime<Utc>>) -> Relative {
    Relative {
        number: number(text),
        name: name.into(),
        status: if disconnected_at.is_some() { "Inactive" } else { "Active" }.into(),
        disconnected_at,
        contact: Contact { email: Some(format!("{text}@example.com")), mailing_address: None },
        parent_number: (text != "1001").then(|| number("1002")),
        zone: None,
        open_event: None,
    }
}

fn facts() -> OverviewFacts {
    let debit = |id, description: &str, minor, tax, day| Debit {
        id: DebitId(id),
        description: description.into(),
        amount: minor,
        tax,
        charged_on: NaiveDate::from_ymd_opt(2026, 11, day).unwrap(),
    };
    let address = "12 Main St \u{1b}[31mApt 4".to_owned();
    OverviewFacts {
        account: AccountView {
            number: number("1002"),
            name: "Ada Lovelace".into(),
            status: "Active".into(),
            disconnected_at: None,
            parent_number: Some(number("1001")),
            children: 2,
            address: Some(address.clone()),
            currency: Currency::USD,
            zone: None,
            contact: Contact::default(),
            groups: vec![],
            uninvoiced: Money::new(6600, Currency::USD),
            open_event: None,
        },
        snapshot: Snapshot {
            number: number("1002"),
            name: "Ada Lovelace".into(),
            contact: Contact::default(),
            family: Family {
                parent: Some(relative("1001", "Tower A", None)),
                children: vec![relative("1003", "Bo", None), relative("1004", "Cy", Some(at("2026-02-03T00:00:00Z")))],
                descendants: Vec::new(),
            },
            status: Status { name: "Active".into(), activates_account: true },
            disconnected_at: None,
            currency: Currency::USD,
            debits: vec![debit(2, "Router rental", 1000, 100, 3), debit(1, "Fiber 500, November", 500_000, 500, 1)],
            assignment: Some(Assignment { id: AssignmentId(1), address, from: at("2026-01-01T00:00:00Z") }),
            standing: None,
            target: Ok(Status { name: "Inactive".into(), activates_account: false }),
        },
        open_event: None,
        settings: Settings::default(),
        statuses: vec![Status { name: "Inactive".into(), activates_account: false }],
        now: at("2026-11-22T12:00:00Z"),
    }
}

#[test]
fn the_overview_reads_like_this() {
    let overview = Overview::of(facts(), at("2026-12-01T05:00:00Z"));
    assert_eq!(rendered(&overview, None), GOLDEN);
}

const GOLDEN: &str = "\
Account        1002  Ada Lovelace
Disconnect on  2026-12-01 05:00:00 UTC
Status         Active -> Inactive
Address        12 Main St \\u{1b}[31mApt 4  (will be released)
Parent         1001  Tower A  (Active)
Children       1003  Bo  (Active)
               1004  Cy  (Inactive [disconnected 2026-02-03])
Open event     none
Final invoice  5,016.00 USD to 1001@example.com (of its parent 1001)
Its invoices   to 1001@example.com (of its parent 1001); once 1001 is gone, to nobody: it has no contact of its own

  CHARGED ON  DESCRIPTION                AMOUNT       TAX         TOTAL
  2026-11-01  Fiber 500, November  5,000.00 USD  5.00 USD  5,005.00 USD
  2026-11-03  Router rental           10.00 USD  1.00 USD     11.00 USD
  Total                            5,010.00 USD  6.00 USD  5,016.00 USD

To know before:
  - somebody has to choose what becomes of these connected children (keep, disconnect, unlink): 1003 (Bo)
";

#[test]
fn an_overview_says_what_blocks() {
    let mut facts = facts();
    facts.snapshot.debits.clear();
    facts.snapshot.assignment = None;
    facts.account.address = None;
    facts.snapshot.target = Err(Refusal::DisconnectStatusMissing { name: "Gone".into() });
    let text = rendered(&Overview::of(facts, at("2026-12-01T05:00:00Z")), None);
    assert!(text.contains("It can't be done:\n  - the disconnect status `Gone` is not among"), "{text}");
    assert!(!text.contains("nothing to invoice"), "{text}");
    assert!(text.contains("none to release"), "{text}");
}

#[test]
fn a_narrow_terminal_wraps_the_overview() {
    let mut facts = facts();
    facts.account.name = "word ".repeat(40);
    let text = rendered(&Overview::of(facts, at("2026-12-01T05:00:00Z")), Some(60));
    let sheet = text.split("\n\n").next().unwrap();
    assert!(sheet.lines().all(|line| line.chars().count() <= 60), "{sheet}");
}

/// What a screen was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_is_a_sentence_and_with_json_a_document_too() {
    let (stdout, stderr) = (Heard::default(), Heard::default());
    let error = CliError::from(Refusal::UnknownEvent { event: EventId(7) });
    Screen::of(false, stdout.clone(), stderr.clone(), None).fail(&error);
    assert_eq!(stdout.text(), "");
    assert_eq!(stderr.text(), "error: there is no event 7; `disconnectd events list` shows them\n");

    Screen::of(true, stdout.clone(), stderr, None).fail(&error);
    let document: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
    assert_eq!(document["error"]["code"], "unknown_event");
}

#[test]
fn nothing_that_acts_on_a_terminal_gets_through() {
    let (stdout, stderr) = (Heard::default(), Heard::default());
    let screen = Screen::of(true, stdout.clone(), stderr.clone(), None);
    screen.print("a\u{1b}]0;b\u{7}\n").unwrap();
    screen.note("a\u{9b}2J");
    screen.print_json(&"a\u{9b}2J").unwrap();
    let said = stdout.text() + &stderr.text();
    assert!(!said.chars().any(|c| c != '\n' && c.is_control()), "{said:?}");
}

/// A reader who has gone away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_who_has_gone_away_is_no_error() {
    assert!(Screen::of(false, Gone, Gone, None).print("more").is_ok());
}

#[tokio::test]
async fn nobody_there_is_no_yes() {
    let screen = Screen::of(false, Heard::default(), Heard::default(), None);
    assert_eq!(screen.confirm("Really?").await.unwrap_err().exit(), Exit::Refused);
    let ask: Arc<screen::Ask> =
        Arc::new(|question| Ok(if question == "Disconnect \\u{1b}? [y/N]" { "yes\n".into() } else { String::new() }));
    let screen = Screen::of(false, Heard::default(), Heard::default(), Some(ask));
    assert!(screen.confirm("Disconnect \u{1b}?").await.unwrap());
}

#[test]
fn exits_are_those_of_the_help() {
    assert_eq!(CliError::from(StoreError::Unavailable("x".into())).exit(), Exit::Failed);
    assert_eq!(CliError::Usage("x".into()).exit(), Exit::Usage);
    assert_eq!(CliError::from(Refusal::UnknownEvent { event: EventId(1) }).exit(), Exit::Refused);
    assert_eq!(Exit::UnderWay as u8, 4);
}
