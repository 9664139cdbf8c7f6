//! Whether the queue can be used: both connections' states, said as one and measured when they change. An outage is
//! logged once when it begins, with its reason, and once when it is over; what changes in between is for debugging.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::queue::Connectivity;

/// Publishing and consuming have a connection each: while the broker is out of memory it stops reading from whoever
/// publishes, and acknowledgements on the same connection would hang as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Publish,
    Consume,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

pub struct Board {
    states: Mutex<States>,
    both: watch::Sender<Connectivity>,
}

struct States {
    publish: Connectivity,
    consume: Connectivity,
    told: Told,
}

/// What the log said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Up,
    Down,
    /// It was closed on purpose: there is nothing more to say.
    Closed,
}

impl Board {
    pub fn new() -> Self {
        let states = States { publish: Connectivity::Starting, consume: Connectivity::Starting, told: Told::Nothing };
        Self { states: Mutex::new(states), both: watch::Sender::new(Connectivity::Starting) }
    }

    pub fn subscribe(&self) -> watch::Receiver<Connectivity> {
        self.both.subscribe()
    }

    /// Why the queue can't be used, in words.
    pub fn reason(&self) -> String {
        match &*self.both.borrow() {
            Connectivity::Down(reason) => reason.clone(),
            Connectivity::Starting | Connectivity::Up => "RabbitMQ is not connected yet".to_owned(),
        }
    }

    /// The end that was asked for. From now on the log hears nothing more of either connection.
    pub fn closed(&self, role: Role) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).told = Told::Closed;
        self.set(role, Connectivity::Down("the queue was closed".to_owned()));
    }

    pub fn set(&self, role: Role, now: Connectivity) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match role {
            Role::Publish => &mut states.publish,
            Role::Consume => &mut states.consume,
        };
        if *state == now {
            return;
        }
        let connection = role.as_str();
        let up = now == Connectivity::Up;
        metrics::gauge!("disconnectd_queue_up", "connection" => connection).set(if up { 1.0 } else { 0.0 });
        tracing::debug!(connection, "the {connection} connection to RabbitMQ: {now:?}");
        *state = now;
        let both = match (&states.publish, &states.consume) {
            (down @ Connectivity::Down(_), _) | (_, down @ Connectivity::Down(_)) => down.clone(),
            (Connectivity::Up, Connectivity::Up) => Connectivity::Up,
            _ => Connectivity::Starting,
        };
        states.tell(&both);
        self.both.send_if_modified(|before| {
            let changed = *before != both;
            *before = both;
            changed
        });
    }
}

impl States {
    fn tell(&mut self, both: &Connectivity) {
        self.told = match (self.told, both) {
            (Told::Nothing | Told::Up, Connectivity::Down(reason)) => {
                tracing::warn!("RabbitMQ is away: {reason}. It is tried again until it is back");
                Told::Down
            }
            (Told::Nothing, Connectivity::Up) => {
                tracing::info!("RabbitMQ is connected");
                Told::Up
            }
            (Told::Down, Connectivity::Up) => {
                tracing::info!("RabbitMQ is back");
                Told::Up
            }
            (told, _) => told,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an operator reads of it.
    fn logged(steps: impl FnOnce(&Board)) -> Vec<String> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || steps(&Board::new()));
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn down(reason: &str) -> Connectivity {
        Connectivity::Down(reason.to_owned())
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_once() {
        let lines = logged(|board| {
            board.set(Role::Publish, Connectivity::Up);
            board.set(Role::Consume, Connectivity::Up);
            board.set(Role::Consume, down("aborted"));
            board.set(Role::Publish, down("aborted"));
            board.set(Role::Publish, down("refused"));
            board.set(Role::Consume, down("refused"));
            board.set(Role::Publish, Connectivity::Up);
            board.set(Role::Publish, down("aborted"));
            board.set(Role::Publish, Connectivity::Up);
            board.set(Role::Consume, Connectivity::Up);
        });
        assert_eq!(
            lines,
            [
                "INFO RabbitMQ is connected",
                "WARN RabbitMQ is away: aborted. It is tried again until it is back",
                "INFO RabbitMQ is back",
            ]
        );
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_outage() {
        let lines = logged(|board| {
            board.set(Role::Publish, Connectivity::Up);
            board.set(Role::Consume, Connectivity::Up);
            board.closed(Role::Consume);
            board.set(Role::Publish, down("aborted"));
            board.closed(Role::Publish);
            assert_eq!(board.reason(), "the queue was closed");
        });
        assert_eq!(lines, ["INFO RabbitMQ is connected"]);
    }
}
