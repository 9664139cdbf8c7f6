//! At most so many a minute: the generic cell rate algorithm, in whole microseconds.
//!
//! A state is one instant, kept by the caller: until then what was let through is paid for. Each one costs an interval
//! `T`, and as many as the burst `b` may be owed. Of the asks within any 60 seconds (their last instant not counted) it
//! lets at most `b + floor(59.999999 s / T)` through. With `b = max(1, N / 60)`, a second's worth, and
//! `T = 60 s / (N - b + 1)`, rounded up, that is at most N.

use chrono::{DateTime, TimeDelta, Utc};

/// The most that may be asked for: far more than any installation executes.
pub const PER_MINUTE_MAX: u32 = 1_000_000;

const MINUTE_US: u32 = 60_000_000;

/// How far ahead of now a state may be, in microseconds: twice as far as any pace puts it. One that is further ahead
/// comes from a clock that was set back, and nobody waits for that.
const AHEAD_MAX_US: i64 = 2 * MINUTE_US as i64;

/// At most so many a minute, spread evenly but for a second's worth at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    per_minute: u32,
    /// How many may go at once.
    burst: u32,
    /// What each one costs, in microseconds.
    interval_us: u32,
}

impl Pace {
    /// # Errors
    /// A sentence that says what to do: none or too many.
    pub fn per_minute(n: u32) -> Result<Self, String> {
        if n == 0 {
            return Err(
                "a pace of 0 a minute never ends; give 1 or more, or pause the campaign to let nothing run".into()
            );
        }
        if n > PER_MINUTE_MAX {
            return Err(format!(
                "{n} a minute is more than {PER_MINUTE_MAX}; give less, or no pace at all for no limit"
            ));
        }
        let burst = (n / 60).max(1);
        Ok(Self { per_minute: n, burst, interval_us: MINUTE_US.div_ceil(n - burst + 1) })
    }

    /// As it was given.
    #[must_use]
    pub fn a_minute(self) -> u32 {
        self.per_minute
    }

    /// How many of those that are `wanted` may go now, and the state then. Without a state nothing was let through yet.
    #[must_use]
    pub fn take(&self, at: Option<DateTime<Utc>>, now: DateTime<Utc>, wanted: u32) -> (u32, DateTime<Utc>) {
        let paid_until = paid_until(at, now);
        let room_us = (now + self.owed() - paid_until).num_microseconds().unwrap_or(0);
        let granted = match u32::try_from(room_us) {
            Ok(room_us) => (room_us / self.interval_us + 1).min(wanted),
            Err(_) => 0, // negative: the room is never more than `owed`, about a second
        };
        (granted, paid_until + self.cost(granted.into()))
    }

    /// How many may go at once: a second's worth, at least one.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// When the next `n` may go at once, of at most the burst: `now`, or later.
    #[must_use]
    pub fn next(&self, at: Option<DateTime<Utc>>, now: DateTime<Utc>, n: u32) -> DateTime<Utc> {
        now.max(paid_until(at, now) + self.cost(n.saturating_sub(1).into()) - self.owed())
    }

    /// How long it is from the first to the last of `n` that go as soon as they may.
    #[must_use]
    pub fn duration(&self, n: u64) -> TimeDelta {
        self.cost(n.saturating_sub(self.burst.into()))
    }

    /// By how much a state may be ahead of now when another one is let through.
    fn owed(&self) -> TimeDelta {
        self.cost((self.burst - 1).into())
    }

    fn cost(&self, n: u64) -> TimeDelta {
        let us = n.saturating_mul(self.interval_us.into());
        TimeDelta::microseconds(i64::try_from(us).unwrap_or(i64::MAX))
    }
}

fn paid_until(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    at.unwrap_or(now).clamp(now, now + TimeDelta::microseconds(AHEAD_MAX_US))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn pace(n: u32) -> Pace {
        Pace::per_minute(n).unwrap()
    }

    #[test]
    fn none_and_too_many_are_refused_with_what_to_do() {
        assert!(Pace::per_minute(0).unwrap_err().contains("pause the campaign"));
        assert!(Pace::per_minute(PER_MINUTE_MAX + 1).unwrap_err().contains("no pace at all"));
        assert_eq!(pace(PER_MINUTE_MAX).a_minute(), PER_MINUTE_MAX);
    }

    #[test]
    fn one_a_minute_goes_once_a_minute() {
        let (granted, state) = pace(1).take(None, now(), 10);
        assert_eq!(granted, 1);
        let next = pace(1).next(Some(state), now(), 1);
        assert_eq!(next, now() + TimeDelta::seconds(60));
        assert_eq!(pace(1).take(Some(state), next - TimeDelta::microseconds(1), 1).0, 0);
        assert_eq!(pace(1).take(Some(state), next, 10).0, 1);
    }

    #[test]
    fn a_seconds_worth_goes_at_once_and_no_more_after_a_long_rest() {
        assert_eq!(pace(600).take(None, now(), 100).0, 10);
        assert_eq!(pace(600).take(Some(now() - TimeDelta::days(1)), now(), 100).0, 10);
        assert_eq!(pace(600).take(None, now(), 3).0, 3, "no more than are wanted");
        assert_eq!(pace(600).take(None, now(), 0).0, 0);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nobody_for_long() {
        let state = Some(now() + TimeDelta::hours(1));
        assert_eq!(pace(60).take(state, now(), 1).0, 0);
        assert!(pace(60).next(state, now(), 1) <= now() + TimeDelta::minutes(2));
    }

    #[test]
    fn so_many_take_so_long() {
        assert_eq!(pace(1).duration(0), TimeDelta::zero());
        assert_eq!(pace(1).duration(1), TimeDelta::zero());
        assert_eq!(pace(1).duration(3), TimeDelta::minutes(2));
        assert_eq!(pace(60).duration(3_601), TimeDelta::hours(1));
        assert!(pace(1).duration(u64::MAX) >= TimeDelta::days(365 * 1_000));
    }

    /// Lets through what may go at each ask, and says when each one went.
    fn gone(pace: Pace, asks: &[(i64, u32)]) -> Vec<DateTime<Utc>> {
        let (mut state, mut now, mut gone) = (None, now(), Vec::new());
        for (after_us, wanted) in asks {
            now += TimeDelta::microseconds(*after_us);
            let (granted, next) = pace.take(state, now, *wanted);
            gone.extend(std::iter::repeat_n(now, granted as usize));
            state = Some(next);
        }
        gone
    }

    /// Some rarely, some so often and so greedily that only the pace holds them back, for longer than a minute.
    fn asks() -> impl Strategy<Value = Vec<(i64, u32)>> {
        let after_us = prop_oneof![Just(0), 0..5_000_i64, 0..2_000_000_i64, 0..90_000_000_i64];
        let rare = proptest::collection::vec((after_us, 0..2_000_u32), 1..200);
        let greedy = proptest::collection::vec((0..300_000_i64, 100..200_000_u32), 500..800);
        prop_oneof![rare, greedy]
    }

    fn any_pace() -> impl Strategy<Value = Pace> {
        prop_oneof![1..=10_u32, 50..=130_u32, 1..=5_000_u32, 300_000..=PER_MINUTE_MAX].prop_map(pace)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn in_any_minute_at_most_so_many_go(pace in any_pace(), asks in asks()) {
            let gone = gone(pace, &asks);
            let most = pace.a_minute() as usize;
            for (first, one_too_many) in gone.iter().zip(gone.iter().skip(most)) {
                prop_assert!(*one_too_many - *first >= TimeDelta::seconds(60));
            }
        }

        #[test]
        fn asked_without_a_pause_it_comes_close_to_so_many(n in 1..=3_000_u32) {
            let pace = pace(n);
            let (mut state, mut now, end) = (None, now(), now() + TimeDelta::minutes(1));
            let mut gone = 0;
            while now < end {
                let (granted, next) = pace.take(state, now, u32::MAX);
                prop_assert!(granted > 0, "`next` said that one may go");
                gone += granted;
                state = Some(next);
                now = pace.next(state, now, 1);
            }
            prop_assert!(gone <= n && gone >= n - n / 1_000, "{gone} of {n}");
        }

        #[test]
        fn nothing_goes_before_next(pace in any_pace(), asks in asks(), early_us in 1..1_000_000_i64) {
            let (mut state, mut now) = (None, now());
            for (after_us, wanted) in asks {
                now += TimeDelta::microseconds(after_us);
                state = Some(pace.take(state, now, wanted).1);
            }
            let next = pace.next(state, now, 1);
            let early = next - TimeDelta::microseconds(early_us);
            prop_assert_eq!(pace.take(state, next, 1).0, 1);
            prop_assert!(next == now || early < now || pace.take(state, early, 1).0 == 0);
        }

        #[test]
        fn the_last_of_so_many_goes_after_their_duration(pace in any_pace(), n in 1..5_000_u32) {
            let (mut state, mut at, mut left) = (None, now(), n);
            loop {
                let (granted, next) = pace.take(state, at, left);
                state = Some(next);
                left -= granted;
                if left == 0 {
                    break;
                }
                at = pace.next(state, at, 1);
            }
            prop_assert_eq!(at - now(), pace.duration(n.into()));
        }
    }
}
