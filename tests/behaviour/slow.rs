//! Whoever asks slowly, without an end, or not at all holds up nobody else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::installed;
use crate::program::{DEADLINE, Served};
use crate::support::database::{Engine, TestDatabase};

/// More connections than are open at once.
const CONNECTIONS: usize = 600;

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
async fn whoever_does_not_ask_to_the_end_is_not_waited_for() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let served = installed(db).await.serve(&[]);
        served.until_ready_is(200);
        let begins = ["", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow:", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"];
        let mut slow: Vec<_> = (0..CONNECTIONS).map(|n| connect(&served, begins[n % begins.len()])).collect();
        assert_eq!(served.ask("/healthz").unwrap().0, 200, "its turn comes behind those who were there before");
        let deadline = Instant::now() + DEADLINE;
        for (n, stream) in slow.iter_mut().enumerate() {
            assert!(is_closed(stream, deadline), "connection {n} is waited for");
        }
        assert_eq!(served.ask("/readyz").unwrap().0, 200);
    })
    .await;
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
