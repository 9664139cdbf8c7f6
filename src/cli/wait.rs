//! Waiting for what becomes of an event.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::session::{CliError, Session};
use crate::domain::event::{EventId, EventView};

/// The event is looked at after this long at first, then after twice that, and so on.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long the database may be away before the command gives up.
const AWAY_MAX: Duration = Duration::from_secs(5);

/// A person who waits longer than this is told what for.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The event when it has ended, or as it was when `wait` was over. With nobody serving the database, this session runs
/// the event itself.
pub async fn for_outcome(session: &Session, event: EventId, wait: Duration) -> Result<EventView, CliError> {
    let begun = Instant::now();
    let mut answered = begun;
    let mut pause = PAUSE_MIN;
    let mut is_told = false;
    loop {
        match session.store.event(event).await {
            Ok(view) if !view.state.is_open() => return Ok(view),
            Ok(view) => {
                answered = Instant::now();
                let was_run = session.run_own.run_own(event).await;
                if begun.elapsed() >= wait {
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
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
