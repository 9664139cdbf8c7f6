//! Traces: one disconnect is one trace from the request to the commit, they tell nothing of a customer, and a collector
//! that is away costs a line in the log.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use disconnectd::domain::trace::TraceParent;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::{both_pairs, with_a_family};
use crate::program::{DEADLINE, Served};
use crate::support::collector::{Collector, Look};
use crate::support::database::{Engine, PROBE_TOKEN, TestDatabase};
use crate::support::wait_until;

both_pairs!(
    a_disconnect_is_one_trace_from_the_request_to_the_commit,
    disconnects_that_share_a_batch_keep_their_traces,
    a_failure_and_its_retry_are_in_the_same_trace,
    a_batch_of_a_campaign_is_linked_to_who_sent_it,
    what_is_no_trace_or_is_not_sampled_does_no_harm,
    nothing_that_is_asked_is_in_a_trace,
    a_collector_that_takes_nothing_costs_a_line,
    without_a_collector_nothing_is_kept,
);

const TRACE: TraceParent =
    TraceParent { trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span_id: 0x00f0_67aa_0ba9_02b7, sampled: true };
const OTHER_TRACE: TraceParent = TraceParent { trace_id: TRACE.trace_id + 1, ..TRACE };

/// Beyond what a process that serves may take to stop when nothing is under way.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Of the accounts that are disconnected here, and of the people who ask. Long enough not to be there by chance.
const PERSONAL: [&str; 10] =
    ["1001", "1002", "1003", "Miller", "Cleo Jones", "Elm Street", "example.com", "moved away", "probe", "clerk"];

fn ask(served: &Served, account: &str, traceparent: &str) -> i64 {
    let made = served
        .request("POST", &format!("/api/v1/accounts/{account}/disconnect"))
        .header("traceparent", traceparent)
        .json(&json!({ "reason": "moved away", "children": "keep" }))
        .answer()
        .is(201);
    made.json()["id"].as_i64().unwrap()
}

async fn until_completed(db: &TestDatabase, count: i64) {
    let completed = "select count(*) from disconnect_events where state = 'completed'";
    wait_until(DEADLINE, "all are completed", async || db.number(completed).await == count).await;
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "`{name}` in {spans:#?}");
    found[0]
}

/// The database, as spans name it.
fn system(db: &TestDatabase) -> &'static str {
    match db.engine() {
        Engine::Postgres => "postgresql",
        Engine::Sqlite => "sqlite",
    }
}

#[track_caller]
fn has(span: &Span, attributes: &[(&str, &str)]) {
    for (key, value) in attributes {
        assert_eq!(span.attribute(key).as_deref(), Some(*value), "{key} of {span:#?}");
    }
}

async fn a_disconnect_is_one_trace_from_the_request_to_the_commit(db: &TestDatabase) {
    let collector = Collector::start().await;
    let program = collector.traces(with_a_family(db).await).with("OTEL_SERVICE_NAME", "ours");
    let served = program.serve(&[]);
    served.until_ready_is(200);
    let event = ask(&served, "1001", &TRACE.to_string()).to_string();
    let spans = collector.until(TRACE.trace_id, 4).await;
    let [request, publish, disconnect, commit] =
        ["POST /api/v1/accounts/{number}/disconnect", "publish", "disconnect", "commit"].map(|name| one(&spans, name));
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert_eq!(request.parent_span_id, TRACE.span_id.to_be_bytes(), "the caller's span is its parent");
    for (child, parent) in [(publish, request), (disconnect, publish), (commit, disconnect)] {
        assert!(child.is_child_of(parent), "{child:#?} {parent:#?}");
        assert_eq!(child.failure(), None);
    }
    has(
        request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/api/v1/accounts/{number}/disconnect"),
            ("http.response.status_code", "201"),
        ],
    );
    let queue = if db.engine() == Engine::Sqlite { "memory" } else { "rabbitmq" };
    let message = [
        ("messaging.system", queue),
        ("messaging.destination.name", "single"),
        ("messaging.message.id", &format!("{event}:1")),
        ("disconnectd.event.id", &event),
        ("disconnectd.attempt", "1"),
    ];
    has(publish, &message);
    has(publish, &[("messaging.operation.type", "send"), ("disconnectd.outcome", "confirmed")]);
    has(disconnect, &message);
    has(disconnect, &[("messaging.operation.type", "process"), ("disconnectd.outcome", "disconnected")]);
    has(commit, &[("db.system.name", system(db)), ("db.operation.name", "COMMIT")]);

    let kept = db.texts("select traceparent from disconnect_events").await;
    assert_eq!(kept, [request.context().to_string()]);
    served.until_logged(&format!("trace_id=\"{:032x}\"", TRACE.trace_id));
    // The last of them are sent before the end.
    served.request("GET", "/api/v1/accounts").header("traceparent", &OTHER_TRACE.to_string()).answer().is(200);
    served.signal("TERM");
    assert_eq!(served.ended().0, Some(0));
    one(&collector.trace(OTHER_TRACE.trace_id), "GET /api/v1/accounts");
    assert!(collector.services().iter().all(|name| name == "ours"), "{:?}", collector.services());
    collector.holds_none_of(&PERSONAL);
}

/// Asked for by commands, while nobody serves.
async fn disconnects_that_share_a_batch_keep_their_traces(db: &TestDatabase) {
    let collector = Collector::start().await;
    let program = collector.traces(with_a_family(db).await).configured("[worker]\nlinger_ms = 1000\nloops = 1\n");
    for (account, trace) in [("1003", TRACE), ("1002", OTHER_TRACE)] {
        let asked = program.clone().with("TRACEPARENT", trace.to_string());
        asked.run(&["disconnect", account, "--yes", "--no-wait", "--reason", "moved away"]).exits(0);
    }
    let served = program.serve(&[]);
    for trace in [TRACE, OTHER_TRACE] {
        let spans = collector.until(trace.trace_id, 4).await;
        let [command, publish, disconnect, commit] =
            ["disconnectd disconnect", "publish", "disconnect", "commit"].map(|name| one(&spans, name));
        assert_eq!(command.parent_span_id, trace.span_id.to_be_bytes());
        assert!(publish.is_child_of(command) && disconnect.is_child_of(publish) && commit.is_child_of(disconnect));
    }
    let metrics = served.ask("/metrics").unwrap().1;
    assert!(metrics.contains("disconnectd_batch_events_count 1\n"), "they shared a batch: {metrics}");
    collector.holds_none_of(&PERSONAL);
}

async fn a_failure_and_its_retry_are_in_the_same_trace(db: &TestDatabase) {
    let collector = Collector::start().await;
    let program = collector.traces(with_a_family(db).await).configured("[worker]\nretry_seconds = 1\n");
    db.sabotage("accounts", "1003").await;
    let served = program.serve(&[]);
    served.until_ready_is(200);
    ask(&served, "1003", &TRACE.to_string());
    // Of the request, and of the first try.
    let failed = collector.until(TRACE.trace_id, 3).await;
    db.end_sabotage().await;
    let failed = failed.iter().find(|span| span.name == "disconnect").unwrap();
    assert_eq!(failed.failure(), Some("retry"), "{failed:#?}");
    has(failed, &[("disconnectd.outcome", "retry"), ("disconnectd.attempt", "1")]);
    let committed = async || collector.trace(TRACE.trace_id).iter().any(|span| span.name == "commit");
    wait_until(DEADLINE, "another try ends well", committed).await;
    until_completed(db, 1).await;
    served.signal("TERM");
    assert_eq!(served.ended().0, Some(0));
    let spans = collector.trace(TRACE.trace_id);
    let commit = spans.iter().rfind(|span| span.name == "commit").unwrap();
    let disconnect = spans.iter().find(|span| commit.is_child_of(span)).unwrap();
    let publish = spans.iter().find(|span| disconnect.is_child_of(span)).unwrap();
    let first = spans.iter().find(|span| failed.is_child_of(span)).unwrap();
    assert!(publish.name == "publish" && publish.span_id != first.span_id, "{spans:#?}");
    assert_eq!(publish.parent_span_id, first.parent_span_id, "the request is the parent of each try");
    collector.holds_none_of(&["sabotaged"]);
    collector.holds_none_of(&PERSONAL);
}

async fn a_batch_of_a_campaign_is_linked_to_who_sent_it(db: &TestDatabase) {
    let collector = Collector::start().await;
    let program = collector.traces(with_a_family(db).await).configured("[worker]\nlinger_ms = 1000\nloops = 1\n");
    program.run(&["settings", "set", "campaign_approval_over", "1000"]).exits(0);
    let create = ["--json", "campaign", "create", "--name", "Miller", "--accounts", "-", "--children", "keep"];
    let campaign = program.run_with_input(&create, "account_number\n1002\n1003\n").exits(0).json();
    let id = campaign["id"].to_string();
    let dry_run: Value = program.json(&["campaign", "dry-run", &id]);
    program.run(&["campaign", "start", &id, "--digest", dry_run["digest"].as_str().unwrap()]).exits(0);
    let served = program.serve(&[]);
    until_completed(db, 2).await;
    served.signal("TERM");
    assert_eq!(served.ended().0, Some(0));
    let of = |name: &str| -> Vec<Span> { collector.spans().into_iter().filter(|span| span.name == name).collect() };
    let published = of("publish");
    let sent = published.iter().map(|span| span.attribute("messaging.batch.message_count").unwrap());
    let sent: i64 = sent.map(|count| count.parse::<i64>().unwrap()).sum();
    assert_eq!(sent, 2, "{published:#?}");
    assert!(!of("disconnect").is_empty(), "{published:#?}");
    for batch in of("disconnect") {
        assert!(batch.parent_span_id.is_empty() && !batch.links.is_empty(), "{batch:#?}");
        has(&batch, &[("messaging.destination.name", "campaign")]);
        let count = batch.attribute("messaging.batch.message_count");
        assert_eq!(batch.attribute("disconnectd.outcome.disconnected"), count, "{batch:#?}");
        for link in &batch.links {
            let linked = published.iter().filter(|span| span.span_id == link.span_id);
            assert_eq!(linked.count(), 1, "{batch:#?}");
        }
        let links: std::collections::BTreeSet<_> = batch.links.iter().map(|link| &link.span_id).collect();
        assert_eq!(links.len(), batch.links.len(), "each once: {batch:#?}");
        let commits = of("commit");
        assert_eq!(commits.iter().filter(|commit| commit.is_child_of(&batch)).count(), 1, "{commits:#?}");
    }
    assert_eq!(db.number("select count(traceparent) from disconnect_events").await, 0, "their rows stay small");
    collector.holds_none_of(&PERSONAL);
}

async fn what_is_no_trace_or_is_not_sampled_does_no_harm(db: &TestDatabase) {
    let collector = Collector::start().await;
    let served = collector.traces(with_a_family(db).await).serve(&[]);
    served.until_ready_is(200);
    let garbage = "00-00000000000000000000000000000000-zz-01; drop table accounts";
    ask(&served, "1003", garbage);
    let unsampled = TraceParent { sampled: false, ..OTHER_TRACE };
    ask(&served, "1002", &unsampled.to_string());
    until_completed(db, 2).await;
    let kept = db.texts("select coalesce(traceparent, '-') from disconnect_events order by id").await;
    let begun = TraceParent::parse(&kept[0]).expect("without a trace, one begins");
    assert_eq!(kept[1], "-", "whoever asked does not want it kept");
    // Twice is once too often.
    let asked = served.request("GET", "/api/v1/invoices");
    asked.header("traceparent", &TRACE.to_string()).header("traceparent", &TRACE.to_string()).answer().is(200);
    collector.until(begun.trace_id, 4).await;
    served.signal("TERM");
    assert_eq!(served.ended().0, Some(0));
    let spans = collector.spans();
    one(&spans, "GET /api/v1/invoices");
    assert_eq!(one(&collector.trace(begun.trace_id), "disconnect").name, "disconnect");
    assert!(collector.trace(OTHER_TRACE.trace_id).is_empty() && collector.trace(TRACE.trace_id).is_empty());
    assert!(!spans.iter().any(|span| span.name.contains("metrics") || span.name.contains("readyz")), "{spans:#?}");
}

async fn a_collector_that_takes_nothing_costs_a_line(db: &TestDatabase) {
    let collector = Collector::start().await;
    collector.is_unwell(true);
    let program = collector.traces(with_a_family(db).await);
    let served = program.serve(&[]);
    served.until_ready_is(200);
    ask(&served, "1003", &TRACE.to_string());
    until_completed(db, 1).await;
    let refused = async || {
        served.request("GET", "/api/v1/accounts").answer().is(200);
        collector.refused() >= 3
    };
    wait_until(DEADLINE, "several batches were not taken", refused).await;
    collector.is_unwell(false);
    let taken = async || {
        served.request("GET", "/api/v1/accounts").answer().is(200);
        !collector.spans().is_empty()
    };
    wait_until(DEADLINE, "it takes them again", taken).await;
    served.until_logged("takes traces again");
    served.signal("TERM");
    let (code, log) = served.ended();
    assert_eq!((code, log.matches("takes no traces: it answered 503").count()), (Some(0), 1), "{log}");

    // One that is not there, and one that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, account) in [(nobody, "1002"), (silent.local_addr().unwrap(), "1001")] {
        let served = program.clone().with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")).serve(&[]);
        served.until_ready_is(200);
        ask(&served, account, &TRACE.to_string());
        let done = format!("select count(*) from accounts where number = '{account}' and disconnected_at is not null");
        wait_until(DEADLINE, "it is done all the same", async || db.number(&done).await == 1).await;
        let begun = Instant::now();
        served.signal("TERM");
        let (code, log) = served.ended();
        assert_eq!(code, Some(0), "{log}");
        assert!(begun.elapsed() < STOP_MAX, "it took {:?}: {log}", begun.elapsed());
    }
}

/// What may hold something of a customer or of a user: paths, queries, forms, bodies, headers, methods.
async fn nothing_that_is_asked_is_in_a_trace(db: &TestDatabase) {
    let collector = Collector::start().await;
    let served = collector.traces(with_a_family(db).await).serve(&[]);
    served.until_ready_is(200);
    let asked: [(&str, &str, &str, &[u8]); 7] = [
        ("GET", "/api/v1/accounts?search=Miller", "text/plain", b""),
        ("GET", "/api/v1/accounts/1001", "text/plain", b""),
        ("GET", "/nowhere/1002", "text/plain", b""),
        ("MILLER", "/api/v1/accounts/1003", "text/plain", b""),
        ("GET", "/sign-in?to=/accounts/1001", "text/plain", b""),
        ("POST", "/sign-in", "application/x-www-form-urlencoded", b"name=clerk&password=hunter2hunter2"),
        (
            "POST",
            "/api/v1/imports/debits",
            "text/csv",
            b"account_number,reference,description,amount,tax,charged_on\n1001,r-77,Miller,1234.56,,2026-11-12\n",
        ),
    ];
    let count = asked.len();
    for (method, path, kind, body) in asked {
        let request = served.request(method, path).header("traceparent", &TRACE.to_string());
        request.header("Cookie", "disconnectd_session=a-session").body(kind, body).answer();
    }
    collector.until(TRACE.trace_id, count).await;
    collector.holds_none_of(&PERSONAL);
    collector.holds_none_of(&["hunter2", "a-session", PROBE_TOKEN, "1234.56", "r-77", "search=", "nowhere"]);
    let begun = served.ask("/metrics").expect("it answers").1;
    assert!(begun.contains(&format!("disconnectd_spans_total{{result=\"begun\"}} {count}")), "{begun}");
}

async fn without_a_collector_nothing_is_kept(db: &TestDatabase) {
    let served = with_a_family(db).await.serve(&[]);
    served.until_ready_is(200);
    ask(&served, "1003", &TRACE.to_string());
    until_completed(db, 1).await;
    assert_eq!(db.number("select count(traceparent) from disconnect_events").await, 0);
    served.signal("TERM");
    let (code, log) = served.ended();
    assert!(code == Some(0) && log.contains("answered") && !log.contains("trace_id"), "{log}");
}

/// On SQLite: with nobody serving, a command runs its own event.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_runs_its_own_event_is_one_trace() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let collector = Collector::start().await;
        let program = collector.traces(with_a_family(db).await);
        program.clone().with("TRACEPARENT", TRACE.to_string()).run(&["disconnect", "1003", "--yes"]).exits(0);
        let spans = collector.trace(TRACE.trace_id);
        let [command, disconnect, commit] =
            ["disconnectd disconnect", "disconnect", "commit"].map(|name| one(&spans, name));
        assert!(disconnect.is_child_of(command) && commit.is_child_of(disconnect) && spans.len() == 3, "{spans:#?}");
        let wrong = program.with("DISCONNECTD_TRACES_ENDPOINT", "https://collector:4318");
        let said = wrong.run(&["accounts", "list"]).exits(2).stderr;
        assert!(said.contains("DISCONNECTD_TRACES_ENDPOINT: traces are sent over plain http"), "{said}");
        collector.holds_none_of(&PERSONAL);
    })
    .await;
}
