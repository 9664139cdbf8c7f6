//! The port's part for calls with an `Idempotency-Key`, and whether such a call may begin: decided here for both engines,
//! which lock, load and write.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{StoreError, StoreResult};

/// One write of one caller, by the `Idempotency-Key` that it bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey {
    /// Whose key it is: keys of different owners never meet.
    pub owner: String,
    /// As the caller chose it, at most 255 characters.
    pub key: String,
}

/// What was answered to a write, to be answered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceAnswer {
    pub status: u16,
    /// The headers that belong to the answer itself: content type, location, etag.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Which of the calls that took a key one after the other: when it began, as the database has it. One that was taken
/// over as lost, and comes late, does not touch what its successor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnceFence(pub DateTime<Utc>);

/// How a write with a key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// It is new: do it, then [`Idempotency::answer_once`] or [`Idempotency::forget_once`] with this fence.
    Begun(OnceFence),
    /// It was done: answer this again.
    Answered(OnceAnswer),
    /// Another call with this key is under way.
    UnderWay,
    /// The key was used for something else.
    OtherCall,
}

/// How long the answer to a key is kept.
pub const ONCE_KEPT: Duration = Duration::from_hours(24);

/// After this long a call that began and never answered counts as lost with its process, unless such a call may take
/// longer: the next with its key does it again. What it does is safe to repeat: each verb is one transaction, and there
/// is one open event per account.
pub const ONCE_LOST: Duration = Duration::from_mins(5);

/// Writes that a caller may repeat without doing them twice.
#[async_trait]
pub trait Idempotency: Send + Sync {
    /// Takes the key for a call with this fingerprint (a SHA-256 of method, path, query and body), of many at the same
    /// time for one alone. One that began `lost_after` ago and has no answer counts as lost. Forgets some of what is
    /// older than [`ONCE_KEPT`].
    async fn begin_once(&self, call: &OnceKey, fingerprint: &[u8; 32], lost_after: Duration) -> StoreResult<Once>;

    /// Keeps the answer of a call that began. The first answer stays.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] where no such call is under way: it was answered or forgotten meanwhile, by whoever took
    /// it over as lost. What the call itself did stands all the same.
    async fn answer_once(&self, call: &OnceKey, fence: OnceFence, answer: &OnceAnswer) -> StoreResult<()>;

    /// Nothing came of a call that began (no answer of the rules': a time-out, a database that was away): the key is
    /// free again. An answer that is there stays, and so does a call that took this one over as lost.
    async fn forget_once(&self, call: &OnceKey, fence: OnceFence) -> StoreResult<()>;
}

/// How many old keys one call forgets at most. Each call brings one, so that any number above one keeps up.
pub(super) const FORGOTTEN_MAX: i64 = 100;

/// What the database has of a key.
pub(super) struct Kept {
    pub(super) fingerprint: Vec<u8>,
    /// Since it began, by the database's clock.
    pub(super) age: Duration,
    pub(super) answer: Option<OnceAnswer>,
}

/// Asked under the lock of the key: what stands in the way of a call. Where nothing does, the call takes the place of
/// what is kept.
pub(super) fn in_the_way(kept: Kept, fingerprint: &[u8; 32], lost_after: Duration) -> Option<Once> {
    if kept.age >= ONCE_KEPT {
        return None;
    }
    if kept.fingerprint != fingerprint {
        return Some(Once::OtherCall);
    }
    match kept.answer {
        Some(answer) => Some(Once::Answered(answer)),
        None => (kept.age < lost_after).then_some(Once::UnderWay),
    }
}

/// The headers of an answer as they stand in the database.
pub(super) fn headers_text(answer: &OnceAnswer) -> StoreResult<String> {
    serde_json::to_string(&answer.headers).map_err(|error| StoreError::Rejected(error.to_string()))
}

/// The answer that the columns of a key hold: all of them, or none.
pub(super) fn answer(
    status: Option<i32>,
    headers: Option<String>,
    body: Option<String>,
) -> StoreResult<Option<OnceAnswer>> {
    let (Some(status), Some(headers), Some(body)) = (status, headers, body) else { return Ok(None) };
    let unreadable = |error: String| {
        StoreError::Rejected(format!("the database holds an answer to a repeated call that can't be read: {error}"))
    };
    Ok(Some(OnceAnswer {
        status: u16::try_from(status).map_err(|error| unreadable(error.to_string()))?,
        headers: serde_json::from_str(&headers).map_err(|error| unreadable(error.to_string()))?,
        body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ONCE_LOST;

    const MOMENT: Duration = Duration::from_micros(1);

    fn made() -> OnceAnswer {
        OnceAnswer { status: 201, headers: vec![("location".into(), "/api/v1/events/7".into())], body: "{}".into() }
    }

    fn asked(fingerprint: u8, age: Duration, answer: Option<OnceAnswer>) -> Option<Once> {
        in_the_way(Kept { fingerprint: vec![1; 32], age, answer }, &[fingerprint; 32], ONCE_LOST)
    }

    #[test]
    fn a_repeated_call_is_answered_again_until_its_answer_has_expired() {
        for age in [Duration::ZERO, ONCE_LOST, ONCE_KEPT.saturating_sub(MOMENT)] {
            assert_eq!(asked(1, age, Some(made())), Some(Once::Answered(made())));
        }
        assert_eq!(asked(1, ONCE_KEPT, Some(made())), None);
    }

    #[test]
    fn a_call_without_an_answer_is_under_way_until_it_counts_as_lost() {
        assert_eq!(asked(1, ONCE_LOST.saturating_sub(MOMENT), None), Some(Once::UnderWay));
        assert_eq!(asked(1, ONCE_LOST, None), None);
    }

    #[test]
    fn another_call_does_not_get_the_key_before_it_has_expired() {
        for answer in [None, Some(made())] {
            assert_eq!(asked(2, ONCE_KEPT.saturating_sub(MOMENT), answer.clone()), Some(Once::OtherCall));
            assert_eq!(asked(2, ONCE_KEPT, answer), None);
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let headers = headers_text(&made()).unwrap();
        assert_eq!(answer(Some(201), Some(headers), Some("{}".into())).unwrap(), Some(made()));
        assert_eq!(answer(None, None, None).unwrap(), None);
        assert!(answer(Some(-1), Some("[]".into()), Some(String::new())).is_err());
        assert!(answer(Some(200), Some("nonsense".into()), Some(String::new())).is_err());
    }
}
