//! Waiting for what becomes of an event.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::session::{CliError, Session};
use crate::domain::event::{EventId, EventView};

/// The event is looked at after this long at first, then after twice that, and so on.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long the database may be away before the command gives up.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(5);

/// A person who waits longer than this is told what for.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The event when it has ended, or as it was when `wait` was over. With nobody serving the database, this session runs
/// the event itself.
pub async fn for_outcome(session: &Session, event: EventId, wait: Duration) -> Result<EventView, CliError> {
    let begun = Instant::now();
    let deadline = begun + wait;
    let mut answered = begun;
    let mut pause = PAUSE_MIN;
    let mut is_told = false;
    loop {
        match session.store.event(event).await {
            Ok(view) if !view.state.is_open() => return Ok(view),
            Ok(view) => {
                answered = Instant::now();
                let was_run = session.run_own.run_own(event, deadline).await;
                if Instant::now() >= deadline {
                    if !is_told {
                        session.note_unserved().await;
                    }
                    return if was_run { Ok(session.store.event(event).await?) } else { Ok(view) };
                }
            }
            Err(error) if error.is_transient() && answered.elapsed() < AWAY_MAX => {}
            Err(error) => {
                session.screen.note(&format!(
                    "event {event} was asked for; `disconnectd events show {event}` tells what became of it"
                ));
                return Err(error.into());
            }
        }
        if !is_told && begun.elapsed() >= SILENCE_MAX {
            is_told = true;
            session.screen.note(&format!("waiting for event {event}, at most {} s", wait.as_secs()));
            session.note_unserved().await;
        }
        let now = Instant::now();
        let next = now + pause;
        sleep_until(if now < deadline { next.min(deadline) } else { next }).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use clap::Parser;

    use super::super::{Cli, Command, Exit, RunOwn, Screen, run};
    use super::*;
    use crate::clock::Clock;
    use crate::domain::actor::{Actor, Source};
    use crate::queue::memory::MemoryQueue;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Events as _, Installations as _};

    /// Takes all the time that it is given, and never comes to an end.
    struct Stuck;

    #[async_trait]
    impl RunOwn for Stuck {
        async fn run_own(&self, _: EventId, deadline: Instant) -> bool {
            sleep_until(deadline).await;
            true
        }
    }

    fn verb(line: &str) -> super::super::Verb {
        match Cli::try_parse_from(std::iter::once("disconnectd").chain(line.split(' '))).unwrap().command {
            Command::Verb(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_event_that_never_ends_ends_the_wait_in_its_time() {
        let folder = std::env::temp_dir().join(format!("disconnectd-wait-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = format!("sqlite://{}", folder.join("x.db").display());
        let store = Arc::new(SqliteStore::open(&url, Clock::system()).await.unwrap());
        store.migrate().await.unwrap();
        let file = folder.join("accounts.csv");
        std::fs::write(
            &file,
            "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n\
             1001,Ada,Active,,USD,,,,,\n",
        )
        .unwrap();
        let session = Session {
            console_url: String::new(),
            store: store.clone(),
            screen: Arc::new(Screen::of(false, std::io::sink(), std::io::sink(), None)),
            actor: Actor::new("clerk", Source::Cli),
            failures_max: 8,
            run_own: Arc::new(Stuck),
            trace: None,
            probes: Vec::new(),
            queue: Arc::new(|_| Ok(Arc::new(MemoryQueue::new()))),
        };
        assert_eq!(run(verb(&format!("import accounts {}", file.display())), &session).await, Exit::Done);
        for wait_s in [0, 1] {
            let begun = Instant::now();
            let exit = run(verb(&format!("disconnect 1001 --yes --wait {wait_s}")), &session).await;
            assert_eq!(exit, Exit::UnderWay);
            assert!(begun.elapsed() >= Duration::from_secs(wait_s), "it waits as long as it was told");
            assert!(begun.elapsed() < Duration::from_secs(wait_s + 10), "and no longer: {:?}", begun.elapsed());
        }
        assert!(store.event(EventId(1)).await.unwrap().state.is_open());
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
