//! What a test may ask of a process by its environment, in debug builds alone: a release build has none of it.
//!
//! `DISCONNECTD_ABORT_AT=commit:3` ends the process like kill -9 when it gets behind that step for the third time.
//! `DISCONNECTD_CLOCK_AHEAD_SECONDS=3600` is a machine whose clock is an hour ahead.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;

/// The steps of an event's way, each named after what was just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Events are claimed, and nothing is published.
    Claim,
    /// A message was handed to the broker, which has not confirmed it.
    Publish,
    /// The broker has confirmed all messages of a claim.
    Confirm,
    /// Messages came, and nothing of them is looked at.
    Delivery,
    /// Their accounts and events are locked.
    Lock,
    /// All effects are written, and not committed.
    Effect,
    /// They are committed, and nothing is acknowledged.
    Commit,
    /// The acknowledgement is sent.
    Ack,
}

impl Step {
    pub const ALL: [Self; 8] =
        [Self::Claim, Self::Publish, Self::Confirm, Self::Delivery, Self::Lock, Self::Effect, Self::Commit, Self::Ack];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Publish => "publish",
            Self::Confirm => "confirm",
            Self::Delivery => "delivery",
            Self::Lock => "lock",
            Self::Effect => "effect",
            Self::Commit => "commit",
            Self::Ack => "ack",
        }
    }
}

/// Where this process is to end, and when.
struct AbortAt {
    step: Step,
    /// How often it has to get there.
    left: AtomicU32,
}

fn abort_at() -> Option<&'static AbortAt> {
    static ABORT_AT: OnceLock<Option<AbortAt>> = OnceLock::new();
    let read = || {
        let text = std::env::var("DISCONNECTD_ABORT_AT").ok()?;
        let (name, nth) = text.split_once(':')?;
        let step = Step::ALL.into_iter().find(|step| step.as_str() == name)?;
        Some(AbortAt { step, left: AtomicU32::new(nth.parse().ok()?) })
    };
    ABORT_AT.get_or_init(read).as_ref()
}

/// Called right behind each step.
pub fn behind(step: Step) {
    if cfg!(debug_assertions)
        && let Some(at) = abort_at()
        && at.step == step
        && at.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// How far this machine's clock is ahead.
pub fn clock_ahead() -> TimeDelta {
    static AHEAD: OnceLock<TimeDelta> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return TimeDelta::zero();
    }
    *AHEAD.get_or_init(|| {
        let seconds = std::env::var("DISCONNECTD_CLOCK_AHEAD_SECONDS").ok().and_then(|text| text.parse().ok());
        TimeDelta::seconds(seconds.unwrap_or(0))
    })
}
