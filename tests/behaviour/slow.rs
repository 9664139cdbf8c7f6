//! Whoever asks without an end holds up nobody else. Those who ask slowly, or don't read, are in `api::connections`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::installed;
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};

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
