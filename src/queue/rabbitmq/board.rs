//! Whether the queue can be used: both connections' states, said as one, logged when they change.

use std::sync::Mutex;

use tokio::sync::watch;

use super::connection::locked;
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
    /// By us: no outage.
    is_closed: bool,
}

impl Board {
    pub fn new() -> Self {
        let states = States { publish: Connectivity::Starting, consume: Connectivity::Starting, is_closed: false };
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

    /// For ever.
    pub fn close(&self, role: Role) {
        locked(&self.states).is_closed = true;
        self.set(role, Connectivity::Down("the queue was closed".to_owned()));
    }

    pub fn set(&self, role: Role, now: Connectivity) {
        let mut states = locked(&self.states);
        let state = match role {
            Role::Publish => &mut states.publish,
            Role::Consume => &mut states.consume,
        };
        if *state == now {
            return;
        }
        let connection = role.as_str();
        tracing::debug!(connection, ?now, "the {connection} connection to RabbitMQ changed");
        *state = now;
        let both = match (&states.publish, &states.consume) {
            (down @ Connectivity::Down(_), _) | (_, down @ Connectivity::Down(_)) => down.clone(),
            (Connectivity::Up, Connectivity::Up) => Connectivity::Up,
            _ => Connectivity::Starting,
        };
        // An outage is said once, whatever number of connections and reasons it has.
        self.both.send_if_modified(|before| {
            match (&*before, &both) {
                _ if states.is_closed => {}
                (Connectivity::Down(_), Connectivity::Down(_)) => {}
                (_, Connectivity::Down(reason)) => {
                    tracing::warn!(reason, "RabbitMQ is away; trying again until it is back");
                }
                (Connectivity::Down(_), Connectivity::Up) => tracing::info!("RabbitMQ is back"),
                _ => {}
            }
            let changed = *before != both;
            *before = both;
            changed
        });
    }
}
