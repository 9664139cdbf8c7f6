//! What watches the program: its metrics, the alert rules that use them, and the runbook that the alerts name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use disconnectd::domain::message;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};

use super::{amqp_url, both_pairs, with_a_family};
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::wait_until;

both_pairs!(
    all_metrics_are_there_at_zero_from_the_first_scrape,
    the_metrics_tell_what_was_done,
    a_look_at_the_broker_does_not_say_that_it_is_away,
);

/// What tells how it is at this moment, and so need not be at zero.
const OF_THE_MOMENT: [&str; 4] = [
    "disconnectd_database_up",
    "disconnectd_queue_up",
    "disconnectd_servers",
    "disconnectd_looked_at_timestamp_seconds",
];

const ALERTS: [&str; 7] = [
    "DisconnectdEventsWait",
    "DisconnectdNotServing",
    "DisconnectdEventsFail",
    "DisconnectdDeadLetters",
    "DisconnectdCampaignPausedItself",
    "DisconnectdGivenUp",
    "DisconnectdSeesNothing",
];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn metrics(served: &Served) -> String {
    let (status, body) = served.ask("/metrics").expect("it answers");
    assert_eq!(status, 200, "{body}");
    body
}

/// The names of metrics in a text, without what a histogram's series have behind theirs.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let bare = |name: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        histogram.unwrap_or(name).to_owned()
    };
    words.filter(|word| word.starts_with("disconnectd_")).map(bare).collect()
}

/// The table of the README: names, with their types.
fn documented() -> Vec<(String, String)> {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `disconnectd_"));
    let documented: Vec<_> = rows
        .map(|row| {
            let (name, rest) = row.split_once('`').expect("a name in backticks");
            let kind = rest.split('|').nth(1).expect("a column with the type").trim();
            (format!("disconnectd_{name}"), kind.to_owned())
        })
        .collect();
    assert!(documented.len() > 15, "the table is found: {documented:?}");
    documented
}

async fn all_metrics_are_there_at_zero_from_the_first_scrape(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    let first = metrics(&served);
    for (name, kind) in documented() {
        assert!(first.contains(&format!("# TYPE {name} {kind}\n")), "{name} is no {kind}: {first}");
        assert!(first.contains(&format!("# HELP {name} ")), "{name} has no help: {first}");
    }
    let names_documented: BTreeSet<_> = documented().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names_documented, names(&types(&first)), "the README and the program have the same");
    for sample in first.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = sample.rsplit_once(' ').expect("a value");
        let is_of_the_moment = OF_THE_MOMENT.iter().any(|name| series.starts_with(name));
        assert!(is_of_the_moment || value == "0", "{sample}");
    }
    for rule in names(&expressions()) {
        assert!(names_documented.contains(&rule), "config/alerts.yml names {rule}, which is not there: {first}");
    }
}

fn types(scrape: &str) -> String {
    scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>().join("\n")
}

/// The rules without their comments.
fn expressions() -> String {
    read("config/alerts.yml").lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The value of the series that begins so.
fn value(scrape: &str, series: &str) -> f64 {
    let found = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("there is no {series}: {scrape}"))
}

async fn until_it_is(served: &Served, series: &str, wanted: f64) {
    let what = format!("{series} is {wanted}");
    wait_until(DEADLINE, &what, async || (value(&metrics(served), series) - wanted).abs() < 0.5).await;
}

async fn the_metrics_tell_what_was_done(db: &TestDatabase) {
    let program = with_a_family(db).await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    program.run(&["disconnect", "1001", "--yes", "--children", "keep"]).exits(0);
    program.run(&["schedule", "1002", "--on", "2126-12-01", "--yes"]).exits(0);
    until_it_is(&served, r#"disconnectd_disconnects_total{outcome="disconnected"}"#, 1.0).await;
    until_it_is(&served, "disconnectd_in_flight_events", 0.0).await;
    let scrape = metrics(&served);
    for series in [
        "disconnectd_claimed_total",
        r#"disconnectd_queue_published_total{result="confirmed"}"#,
        "disconnectd_publish_seconds_count",
        "disconnectd_batch_seconds_count",
        "disconnectd_commit_seconds_count",
        "disconnectd_batch_events_count",
        "disconnectd_batch_events_sum",
        "disconnectd_database_up",
        "disconnectd_queue_up",
    ] {
        assert!(value(&scrape, series) >= 1.0, "{series}: {scrape}");
    }
    // What is read now and then.
    until_it_is(&served, r#"disconnectd_events{state="scheduled"}"#, 1.0).await;
    until_it_is(&served, r#"disconnectd_servers{role="scheduler"}"#, 1.0).await;
    until_it_is(&served, r#"disconnectd_servers{role="worker"}"#, 1.0).await;
    let looked_at = value(&metrics(&served), "disconnectd_looked_at_timestamp_seconds");
    assert!(looked_at > 1_700_000_000.0, "{looked_at}");
}

/// A server asks the broker by the connections that it has, and goes on with them.
async fn a_look_at_the_broker_does_not_say_that_it_is_away(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    until_it_is(&served, "disconnectd_queue_up", 1.0).await;
    let found = served.request("GET", "/api/v1/doctor").answer().is(200).json();
    let queue = found["checks"].as_array().unwrap().iter().find(|check| check["name"] == "queue").unwrap();
    assert_eq!(queue["finding"], "ok", "{found:#}");
    assert!(metrics(&served).contains("\ndisconnectd_queue_up 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_read_is_counted_in_the_dead_letter_queue() {
    TestDatabase::run_on_empty(Engine::Postgres, async |db: &TestDatabase| {
        let served = with_a_family(db).await.serve(&[]);
        served.until_ready_is(200);
        let installation = db.store.installation().await.unwrap().id;
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = format!("disconnectd.single.{installation}");
        assert!(message::parse(&installation, b"hello").is_err());
        let sent = channel.basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            b"hello",
            BasicProperties::default(),
        );
        sent.await.unwrap().await.unwrap();
        until_it_is(&served, r#"disconnectd_queue_rejected_total{lane="single"}"#, 1.0).await;
        until_it_is(&served, r#"disconnectd_queue_messages{queue="dead"}"#, 1.0).await;
    })
    .await;
}

#[test]
fn the_alert_rules_are_sound_and_fire_when_they_should_and_only_then() {
    for (what, path) in [("check", "config/alerts.yml"), ("test", "tests/alerts.yml")] {
        let ran = Command::new("promtool").args([what, "rules"]).arg(file(path)).output();
        let ran = ran.unwrap_or_else(|error| panic!("promtool: {error}; tests/run installs it"));
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(ran.status.success(), "promtool {what} rules {path}: {said}");
    }
}

#[test]
fn each_alert_says_what_to_do_and_has_a_test_and_a_section_of_the_runbook() {
    let (rules, tests, runbook) = (read("config/alerts.yml"), read("tests/alerts.yml"), read("docs/runbook.md"));
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    let their_names: Vec<&str> = alerts.iter().filter_map(|alert| alert.lines().next()).collect();
    assert_eq!(their_names, ALERTS);
    let anchors: Vec<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    for (alert, name) in alerts.into_iter().zip(their_names) {
        for part in ["for: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let anchor = alert.split("runbook: docs/runbook.md#").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        assert!(anchors.iter().any(|known| known == anchor), "{name}: {anchor} is not among {anchors:?}");
        assert!(runbook.contains(&format!("`{name}`")), "the runbook does not name {name}");
        let tested = |firing: bool| {
            let cases = tests.split("alertname: ").skip(1);
            cases.filter(|case| case.starts_with(name)).any(|case| case.contains("exp_alerts: []") != firing)
        };
        assert!(tested(true) && tested(false), "{name} is not tested both ways");
    }
}
