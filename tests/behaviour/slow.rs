//! Whoever asks without an end holds up nobody else. Those who ask slowly, or don't read, are in `api::connections`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use disconnectd::domain::token::Role;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use super::console::{Browser, PASSWORD};
use super::{ACCOUNTS, header, installed};
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};
use crate::support::wait_until;

/// Whether the other side has closed it, before `deadline`. What it says before is read.
fn is_closed(stream: &mut TcpStream, deadline: Instant) -> bool {
    let mut answer = [0; 1_024];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut answer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
    false
}

fn connect(served: &Served, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(begin.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_an_end_is_cut_off() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        for line in ["X-Long: ".to_owned() + &"a".repeat(8 * 1_024), "X-Many: a\r\n".repeat(1_000)] {
            let mut stream = connect(&served, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
            let begun = Instant::now();
            // Once it is refused, no more is taken.
            while stream.write_all(line.as_bytes()).is_ok() {
                assert!(begun.elapsed() < Duration::from_secs(5), "it takes all that comes");
            }
            assert!(is_closed(&mut stream, Instant::now() + DEADLINE));
        }
        assert_eq!(served.ask("/healthz").unwrap().0, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_a_stranger_is_waited_for_no_longer_than_it_takes_to_send_one() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        let head = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: \
                    application/x-www-form-urlencoded\r\nConnection: close\r\n\r\nname=";
        let mut stream = connect(&served, head);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("nothing was done"), "{answer}");
    })
    .await;
}

/// An import of a million is one transaction of half a minute, and SQLite has one writer. A command beside it says that it
/// waits, and is done after it; looks over HTTP are answered at once, however many calls wait to write.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_long_import_commands_wait_and_looks_do_not() {
    const CALLS: usize = 10;
    /// Of four places for writes a sign-in has one.
    const WAITING: usize = 3;
    /// Whoever waited for the import would wait for longer.
    const LOOK_MAX: Duration = Duration::from_secs(5);
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let program = installed(db).await;
        let rows = (0..=CALLS).fold(header(ACCOUNTS), |rows, n| rows + &format!("N{n},Nobody,Active,,USD,,,,,\n"));
        program.write("accounts.csv", rows);
        program.run(&["import", "accounts", "accounts.csv"]).exits(0);
        db.users_of_all_roles().await;
        let served = program.serve(&[]);
        served.until_ready_is(200);
        let mut browser = Browser::of(&served, Role::Operator);
        // That it is used again is to be written down with its next page.
        let seen_long_ago = format!("last_seen_at < {}", db.instant(-300));
        db.sql(&format!("update console_sessions set last_seen_at = {}", db.instant(-600))).await;

        let mut import = SqliteConnection::connect(&db.url()).await.unwrap();
        sqlx::raw_sql("begin immediate").execute(&mut import).await.unwrap();
        let signing_in = Browser::new(&served).begins_to_sign_in("viewer", PASSWORD);
        served.until_logged("waiting for it");
        let mut command = program
            .command(&["--json", "disconnect", "N0", "--yes"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(command.stderr.take().unwrap());
        let told = thread::spawn(move || {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            (line, stderr)
        });
        let asks_for = |n| {
            let call = served.request("POST", &format!("/api/v1/accounts/N{n}/disconnect")).json(&json!({}));
            thread::spawn(move || call.answer())
        };
        let calls: Vec<_> = (1..=CALLS).map(asks_for).collect();
        let refused = || calls.iter().filter(|call| call.is_finished()).count();
        let begun = Instant::now();
        while !told.is_finished() || refused() < CALLS - WAITING {
            assert!(begun.elapsed() < DEADLINE, "told: {}, refused: {}", told.is_finished(), refused());
            let asked = Instant::now();
            browser.page("/accounts/N1");
            served.request("GET", "/api/v1/accounts/N1").answer().is(200);
            served.until_ready_is(200);
            assert!(asked.elapsed() < LOOK_MAX, "{:?}", asked.elapsed());
        }
        // That somebody hangs up stops nothing.
        drop(signing_in);
        browser.page("/accounts/N1");
        sqlx::raw_sql("rollback").execute(&mut import).await.unwrap();

        let (line, _until_it_ends) = told.join().unwrap();
        assert_eq!(line, "something else is being written, an import perhaps; waiting for it\n");
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let event: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(event["outcome"], "disconnected", "{event}");
        let (done, refused): (Vec<_>, Vec<_>) =
            calls.into_iter().map(|call| call.join().unwrap()).partition(|answer| answer.status == 201);
        assert_eq!(done.len(), WAITING, "{done:?}");
        for answer in refused {
            answer.problem(503, "too_busy");
        }
        wait_until(DEADLINE, "the other one is signed in", async || db.count("console_sessions").await == 2).await;
        wait_until(DEADLINE, "it is written down that the session is used", async || {
            browser.page("/accounts/N1");
            db.number(&format!("select count(*) from console_sessions where {seen_long_ago}")).await == 0
        })
        .await;
    })
    .await;
}
