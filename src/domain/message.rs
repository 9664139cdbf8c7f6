//! The message that wakes a worker. It names an event and nothing else: the database decides what is done.
//!
//! No personal data sits in a broker, a duplicate carries no authority, and a purged queue can be made again.

use serde::{Deserialize, Serialize};

use super::event::{Attempt, EventId, Order};

/// The version that this program writes and the only one that it reads.
pub const VERSION: u32 = 1;

/// What a message may be long at most, in bytes; a real one has about 100.
pub const LENGTH_MAX: usize = 1024;

/// The body of a message, as JSON: `{"v":1,"installation":"…","event_id":7,"attempt":1}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    v: u32,
    installation: &'a str,
    event_id: i64,
    attempt: i32,
}

/// Why a message is not one of ours. It goes to the dead-letter queue.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message has {0} bytes, more than {LENGTH_MAX}")]
    TooLong(usize),
    #[error("the message is not a disconnect order: {0}")]
    Malformed(String),
    #[error("the message has version {0}, this program reads version {VERSION}")]
    Version(u32),
    #[error("the message belongs to installation {0}")]
    OtherInstallation(String),
}

/// The body of the message for `order`.
#[must_use]
pub fn write(installation: &str, order: Order) -> Vec<u8> {
    let body = Body { v: VERSION, installation, event_id: order.event_id.0, attempt: order.attempt.0 };
    serde_json::to_vec(&body).unwrap_or_default() // three numbers and a string: it cannot fail
}

/// The stable id of the message for `order`, the same for each repetition of it.
#[must_use]
pub fn message_id(order: Order) -> String {
    format!("{}:{}", order.event_id, order.attempt)
}

/// Reads what arrived, whatever it is.
///
/// # Errors
/// Anything that this installation's own scheduler did not write.
pub fn parse(installation: &str, bytes: &[u8]) -> Result<Order, MessageError> {
    if bytes.len() > LENGTH_MAX {
        return Err(MessageError::TooLong(bytes.len()));
    }
    let version: Version = serde_json::from_slice(bytes).map_err(|e| MessageError::Malformed(e.to_string()))?;
    if version.v != VERSION {
        return Err(MessageError::Version(version.v));
    }
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(|e| MessageError::Malformed(e.to_string()))?;
    if body.installation != installation {
        return Err(MessageError::OtherInstallation(body.installation.chars().take(64).collect()));
    }
    Ok(Order { event_id: EventId(body.event_id), attempt: Attempt(body.attempt), trace: None })
}

/// Read before the rest, so that a newer message is called newer and not malformed.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order { event_id: EventId(7), attempt: Attempt(2), trace: None };

    #[test]
    fn a_message_says_the_event_and_the_attempt_and_nothing_else() {
        let bytes = write("i1", ORDER);
        assert_eq!(bytes, br#"{"v":1,"installation":"i1","event_id":7,"attempt":2}"#);
        assert_eq!(parse("i1", &bytes), Ok(ORDER));
        assert_eq!(message_id(ORDER), "7:2");
    }

    #[test]
    fn what_is_not_ours_is_told_apart_and_refused() {
        assert!(matches!(parse("i1", b"hello"), Err(MessageError::Malformed(_))));
        assert!(matches!(parse("i1", b"{\"v\":1}"), Err(MessageError::Malformed(_))));
        assert_eq!(parse("i1", b"{\"v\":2,\"x\":[]}"), Err(MessageError::Version(2)));
        assert_eq!(parse("i1", &write("i2", ORDER)), Err(MessageError::OtherInstallation("i2".into())));
        assert_eq!(parse("i1", &[b'['; 5000]), Err(MessageError::TooLong(5000)));
        let extra = br#"{"v":1,"installation":"i1","event_id":7,"attempt":2,"amount":9}"#;
        assert!(matches!(parse("i1", extra), Err(MessageError::Malformed(_))));
    }
}
