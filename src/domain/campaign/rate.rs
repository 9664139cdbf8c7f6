//! How fast a campaign goes.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CampaignView, State};

/// Over the last half minute that somebody looked.
#[derive(Debug, Default)]
pub struct Rate {
    /// When, how many were done by then, and how many were left.
    seen: VecDeque<(DateTime<Utc>, i64, i64)>,
}

const OVER_S: i64 = 30;

impl Rate {
    pub fn add(&mut self, campaign: &CampaignView) {
        let done = campaign.counts.done();
        self.look(campaign.state, campaign.as_of, done, campaign.counts.accounts - done);
    }

    fn look(&mut self, state: State, at: DateTime<Utc>, done: i64, left: i64) {
        if state != State::Running {
            self.seen.clear();
            return;
        }
        self.seen.push_back((at, done, left));
        let since = at - TimeDelta::seconds(OVER_S);
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, ..)| *at < since) {
            self.seen.pop_front();
        }
    }

    /// `20 a second, about 8 min left`, with numbers as `shown`; nothing while nothing is known.
    pub fn told(&self, shown: impl Fn(i64) -> String) -> Option<String> {
        let ((from, was, _), (to, is, left)) = (self.seen.front()?, self.seen.back()?);
        let (ms, done) = ((*to - *from).num_milliseconds(), is - was);
        if ms <= 0 || done <= 0 {
            return None;
        }
        let each_minute = done.saturating_mul(60_000) / ms;
        let pace = if each_minute >= 600 {
            format!("{} a second", shown(each_minute / 60))
        } else {
            format!("{} a minute", shown(each_minute.max(1)))
        };
        Some(format!("{pace}, about {} left", duration(left.saturating_mul(ms) / done / 1_000)))
    }
}

/// `4 s`, `12 min`, `3 h 5 min`, `2 days 3 h`.
#[must_use]
pub fn duration(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let and = |n: i64, unit: &str| if n > 0 { format!(" {n} {unit}") } else { String::new() };
    match seconds {
        ..60 => format!("{} s", seconds.max(1)),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => format!("{hours} h{}", and(minutes, "min")),
        _ => format!("{days} {}{}", if days == 1 { "day" } else { "days" }, and(hours, "h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_half_minute() {
        let mut rate = Rate::default();
        assert_eq!(rate.told(|n| n.to_string()), None, "nothing is known yet");
        for second in 0..100 {
            // A stand still, and then 20 a second.
            let done = (second - 60).max(0) * 20;
            rate.look(State::Running, DateTime::from_timestamp(second, 0).unwrap(), done, 10_000 - done);
        }
        assert_eq!(rate.told(|n| n.to_string()).as_deref(), Some("20 a second, about 7 min left"));
        assert!(rate.seen.len() <= 32, "and no more is kept");
        rate.look(State::Paused, DateTime::UNIX_EPOCH, 0, 0);
        assert_eq!(rate.told(|n| n.to_string()), None, "what was before a pause does not count");
    }

    #[test]
    fn durations_are_told_in_what_is_read_at_a_glance() {
        for (seconds, told) in [
            (0, "1 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (11_220, "3 h 7 min"),
            (86_400, "1 day"),
            (266_400, "3 days 2 h"),
        ] {
            assert_eq!(duration(seconds), told);
        }
    }
}
