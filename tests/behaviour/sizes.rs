//! Whatever its size, its depth and its length: a request is refused in words that say why, or cut off, soon, by a process
//! that answers others meanwhile and takes little memory for it.

mod cases;

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use disconnectd::domain::user::SignInSecret;

use self::cases::{Case, hidden};
use super::console::with_users;
use crate::http::Answer;
use crate::program::Served;
use crate::support::database::{Engine, TestDatabase};

/// How much more memory the process may have taken at any time, in KiB.
const MEMORY_MAX: u64 = 64 * 1024;

/// How long anybody else may wait, on a busy machine.
const OTHERS_MAX: Duration = Duration::from_secs(5);

/// How long a refusal may take, beside what it takes to send what is refused.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The most memory that the process had since it was asked to forget that, in KiB.
fn peak(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// What it has now is the most.
fn forget_peak(served: &Served) -> u64 {
    std::fs::write(format!("/proc/{}/clear_refs", served.id()), "5").unwrap();
    peak(served)
}

impl Case {
    /// Sends it, and answers the first answer and all that came, where that had an end.
    fn sent_to(&self, served: &Served) -> Option<(Option<Answer>, String)> {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let (is_answered, sentinel) = (AtomicBool::new(false), stream.try_clone().unwrap());
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let parts = self.body.iter().flat_map(|(part, times)| std::iter::repeat_n(part.as_slice(), *times));
                // Whoever does not take it has closed the connection, or refused it and will.
                let is_taken = [self.head.as_bytes()]
                    .into_iter()
                    .chain(parts)
                    .all(|part| !is_answered.load(Ordering::Relaxed) && writer.write_all(part).is_ok());
                if self.breaks_off || !is_taken {
                    let _ = writer.shutdown(Shutdown::Write);
                }
            });
            let (mut bytes, mut is_ended) = (Vec::new(), false);
            let mut sentinel = Some(sentinel);
            let (begun, mut part) = (Instant::now(), [0; 16 * 1024]);
            while let Some(left) = ANSWER_MAX.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
                stream.set_read_timeout(Some(left)).unwrap();
                match stream.read(&mut part) {
                    Ok(length) if length > 0 => bytes.extend_from_slice(&part[..length]),
                    // It is cut off, unless it takes too long.
                    ended => {
                        let is_late =
                            |error: &Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                        is_ended = !ended.is_err_and(|error| is_late(&error));
                        break;
                    }
                }
                // Where the connection goes on, the next request ends it.
                if Answer::parse(&bytes).is_some_and(|answer| answer.is_whole()) {
                    is_answered.store(true, Ordering::Relaxed);
                    if let Some(mut last) = sentinel.take() {
                        let _ =
                            last.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                    }
                }
            }
            is_answered.store(true, Ordering::Relaxed);
            let _ = stream.shutdown(Shutdown::Both);
            writing.join().unwrap();
            is_ended.then(|| (Answer::parse(&bytes), String::from_utf8_lossy(&bytes).into_owned()))
        })
    }

    /// What is wrong with how it is refused.
    fn complaint(&self, served: &Served) -> Option<&'static str> {
        let Some((answer, all)) = self.sent_to(served) else { return Some("there is no end of it") };
        let status = answer.as_ref().map(|answer| answer.status);
        println!("{status:?} {}", self.name);
        // The last one is the request that we asked ourselves.
        if all.matches("HTTP/1.1 ").count() > 2 || all.contains("\"items\"") {
            return Some("what hid in it is answered");
        }
        if !self.answers.contains(&status) {
            return Some("it is answered otherwise");
        }
        let answer = answer.filter(|answer| !answer.body.is_empty() && answer.status >= 400)?;
        let wanted = if self.is_api() { "application/problem+json" } else { "text/html; charset=utf-8" };
        (answer.header("content-type") != Some(wanted)).then_some("its words are of another kind")
    }
}

/// Somebody else, all the time. Answers the longest that an answer took.
fn others(served: &Served, is_over: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        for path in ["/healthz", "/api/v1/accounts?limit=1"] {
            let begun = Instant::now();
            served.request("GET", path).answer().is(200);
            longest = longest.max(begun.elapsed());
        }
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_its_size_a_request_is_refused_and_costs_little() {
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let (_program, served) = with_users(db).await;
        db.session("operator", "a-session").await;
        let key = SignInSecret::presented("a-session").form_key();
        let signed_in =
            || served.bare_request("GET", "/campaigns/new").header("Cookie", "disconnectd_session=a-session");
        signed_in().answer().is(200);
        let before = db.dump().await;
        let floor = forget_peak(&served);
        let is_over = AtomicBool::new(false);
        let longest = thread::scope(|scope| {
            let others = scope.spawn(|| others(&served, &is_over));
            let mut complaints = Vec::new();
            for case in cases::all("a-session", &key) {
                forget_peak(&served);
                let begun = Instant::now();
                complaints.extend(case.complaint(&served).map(|complaint| format!("{}: {complaint}", case.name)));
                let (took, grown) = (begun.elapsed(), peak(&served).saturating_sub(floor));
                println!("    {} ms, {grown} KiB", took.as_millis());
                if grown > MEMORY_MAX {
                    complaints.push(format!("{}: the process took {grown} KiB", case.name));
                }
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(complaints.is_empty(), "{complaints:#?}");
            others.join().unwrap()
        });
        assert!(longest < OTHERS_MAX, "somebody else waited for {longest:?}");
        assert_eq!(db.dump().await, before, "nothing of it was done");
        signed_in().answer().is(200);
        // What hides is worth something: sent openly, it is answered.
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.write_all(hidden().replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(all.contains("\"items\""), "{all}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_have_no_end_take_little_memory() {
    const EACH: usize = 300 * 1024;
    TestDatabase::run_on_empty(Engine::Sqlite, async |db: &TestDatabase| {
        let (_program, served) = with_users(db).await;
        let floor = forget_peak(&served);
        let streams: Vec<_> = (0..300)
            .map(|_| {
                let mut stream = TcpStream::connect(served.address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nX-Long: ").unwrap();
                let _ = stream.write_all(&vec![b'x'; EACH]);
                stream
            })
            .collect();
        for mut stream in &streams {
            stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
            let ended = stream.read(&mut [0; 1]);
            let is_late = |error: &Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!ended.is_err_and(|error| is_late(&error)), "a head without an end is read on and on");
        }
        served.request("GET", "/api/v1/accounts").answer().is(200);
        let grown = peak(&served).saturating_sub(floor);
        assert!(grown < MEMORY_MAX, "the process took {grown} KiB for {} heads", streams.len());
    })
    .await;
}
