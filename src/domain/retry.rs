//! What becomes of an event after an execution that failed because of the event itself.

use std::time::Duration;

use super::event::{Attempt, Event, EventId};

/// Exponential backoff with full jitter: the n-th wait is drawn evenly from zero to `base * 2^(n-1)`, at most `max`.
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    pub base: Duration,
    pub max: Duration,
}

impl RetryPolicy {
    /// What to do after the failure that this execution of `event` is.
    ///
    /// Pure: the jitter is drawn from the event and its attempt, so that it spreads over events and over attempts.
    #[must_use]
    pub fn after_failure(&self, event: &FailedAttempt) -> Verdict {
        let failures = event.failures.saturating_add(1);
        if failures >= event.failures_max {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(failures - 1).unwrap_or(0).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        Verdict::RetryAfter(ceiling.mul_f64(jitter(event.event_id, event.attempt)))
    }
}

/// One execution that failed, as it was read under the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    pub event_id: EventId,
    /// Fences the write: it only lands while the event still has this attempt.
    pub attempt: Attempt,
    /// Before this one.
    pub failures: i32,
    pub failures_max: i32,
    pub error: String,
}

impl FailedAttempt {
    #[must_use]
    pub fn of(event: &Event, error: String) -> Self {
        Self {
            event_id: event.id,
            attempt: event.attempt,
            failures: event.failures,
            failures_max: event.failures_max,
            error,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Back to `scheduled`, looked at again after this long.
    RetryAfter(Duration),
    /// To `failed`, until a person retries it.
    GiveUp,
}

impl Verdict {
    pub const NAMES: [&str; 2] = ["retry", "given_up"];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        let [retry, given_up] = Self::NAMES;
        match self {
            Self::RetryAfter(_) => retry,
            Self::GiveUp => given_up,
        }
    }
}

/// An even draw from 0 to 1: splitmix64 over both numbers (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
/// Generators", 2014).
fn jitter(event: EventId, attempt: Attempt) -> f64 {
    let mut z = event.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ u64::from(attempt.0.cast_unsigned()).wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let fraction = (z >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy { base: Duration::from_secs(5), max: Duration::from_secs(3600) };

    fn failed(id: i64, attempt: i32, failures: i32) -> FailedAttempt {
        FailedAttempt {
            event_id: EventId(id),
            attempt: Attempt(attempt),
            failures,
            failures_max: 8,
            error: String::new(),
        }
    }

    #[test]
    fn failures_are_bounded() {
        assert!(matches!(POLICY.after_failure(&failed(1, 7, 6)), Verdict::RetryAfter(_)));
        assert_eq!(POLICY.after_failure(&failed(1, 8, 7)), Verdict::GiveUp);
        assert_eq!(POLICY.after_failure(&failed(1, 8, i32::MAX)), Verdict::GiveUp);
    }

    #[test]
    fn the_jitter_is_full_and_even() {
        let waits: Vec<f64> = (0..10_000)
            .map(|id| match POLICY.after_failure(&failed(id, 1, 0)) {
                Verdict::RetryAfter(wait) => wait.as_secs_f64() / 5.0,
                Verdict::GiveUp => unreachable!("the first failure is retried"),
            })
            .collect();
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let share = waits.iter().filter(|w| (low..low + 0.1).contains(*w)).count();
            assert!((850..1150).contains(&share), "{share} of 10,000 in the {tenth}. tenth");
        }
    }

    proptest! {
        #[test]
        fn a_wait_stays_under_its_ceiling(id: i64, attempt: i32, failures in 0..7_i32) {
            let Verdict::RetryAfter(wait) = POLICY.after_failure(&failed(id, attempt, failures)) else {
                return Err(TestCaseError::fail("gave up early"));
            };
            prop_assert!(wait <= Duration::from_secs(5 << failures).min(POLICY.max));
        }
    }
}
