//! What ended in the dead-letter queue: a message that nobody could read, or one that came back too often.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::LaneKind;
use crate::domain::event::{Attempt, EventId, Order};
use crate::domain::message;

/// How much is shown of what a message says, in characters.
const SHOWN_MAX: usize = 200;

/// How many digits tell a message from the others: enough for a million of them.
const ID_DIGITS: usize = 16;

/// A message in the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The first digits of the SHA-256 of its body: copies of one message have the same.
    pub id: String,
    /// The queue that it was in, where the broker says so.
    pub lane: Option<LaneKind>,
    /// In the broker's words: `rejected`, `delivery_limit`.
    pub reason: Option<String>,
    pub died_at: Option<DateTime<Utc>>,
    pub bytes: usize,
    /// What it asks for, where it is an order of this installation.
    pub event_id: Option<EventId>,
    pub attempt: Option<Attempt>,
    /// Else why it is none.
    pub error: Option<String>,
    /// How it begins. What is no text is replaced.
    pub body: String,
}

impl DeadLetter {
    #[must_use]
    pub fn of(installation: &str, body: &[u8], death: Death) -> Self {
        let id: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).take(ID_DIGITS / 2).collect();
        // A character has four bytes at most.
        let beginning = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN_MAX)]);
        let shown = beginning.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
        let order = message::parse(installation, body);
        Self {
            id,
            lane: death.lane,
            reason: death.reason,
            died_at: death.at,
            bytes: body.len(),
            event_id: order.as_ref().ok().map(|order| order.event_id),
            attempt: order.as_ref().ok().map(|order| order.attempt),
            error: order.err().map(|error| error.to_string()),
            body: shown,
        }
    }

    #[must_use]
    pub fn order(&self) -> Option<Order> {
        Some(Order { event_id: self.event_id?, attempt: self.attempt?, trace: None })
    }
}

/// How a message came here, as far as the broker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Death {
    pub lane: Option<LaneKind>,
    pub reason: Option<String>,
    pub at: Option<DateTime<Utc>>,
}

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those with these ids.
    Ids(Vec<String>),
}

impl Which {
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|known| known == id),
        }
    }
}

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// They are gone.
    Drop,
    /// Those that are orders go back to the queue that they were in.
    Requeue,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The ids of those that were dropped or requeued, a copy each.
    pub done: Vec<String>,
    /// Those that were meant and stay, since they are no orders or the broker did not take them.
    pub left: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_what_it_is() {
        let order = Order { event_id: EventId(7), attempt: Attempt(2), trace: None };
        let ours = DeadLetter::of("i1", &message::write("i1", order), Death::default());
        assert_eq!((ours.order(), ours.error.as_deref()), (Some(order), None));
        let foreign = DeadLetter::of("i1", b"hello\n\xff\x00world", Death::default());
        assert_eq!((foreign.order(), foreign.bytes, foreign.id.len()), (None, 13, ID_DIGITS));
        assert_eq!(foreign.body, "hello \u{fffd} world");
        assert!(foreign.error.unwrap().contains("not a disconnect order"));
        let long = DeadLetter::of("i1", "ü".repeat(100_000).as_bytes(), Death::default());
        assert_eq!(long.body.chars().count(), SHOWN_MAX);
        assert!(Which::All.has("x") && Which::Ids(vec!["x".into()]).has("x") && !Which::Ids(Vec::new()).has("x"));
    }
}
