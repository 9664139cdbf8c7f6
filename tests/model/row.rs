//! One event as the database keeps it, and what the verbs of the stores make of it. Time is what it comes to: whether the
//! date has come, and whether the machine is to look again.

use disconnectd::domain::event::State;

/// How many failures end an event.
pub const FAILURES_MAX: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub state: State,
    /// Counts the claims.
    pub attempt: u8,
    pub failures: u8,
    /// `due_at` has come.
    pub is_due: bool,
    /// `next_at` has come.
    pub is_ripe: bool,
}

impl Row {
    pub fn new(is_due: bool) -> Self {
        Self { state: State::Scheduled, attempt: 0, failures: 0, is_due, is_ripe: is_due }
    }

    /// Time passes until the machine is to look at it.
    pub fn ripen(&mut self) {
        (self.is_due, self.is_ripe) = (true, true);
    }

    /// The attempt of the message to come.
    pub fn claim(&mut self) -> Option<u8> {
        (self.state.is_open() && self.is_ripe).then(|| {
            (self.state, self.is_ripe) = (State::Queued, false);
            self.attempt += 1;
            self.attempt
        })
    }

    fn has(self, attempt: u8) -> bool {
        self.state == State::Queued && self.attempt == attempt
    }

    /// The broker did not take the message.
    pub fn release(&mut self, attempt: u8) {
        if self.has(attempt) {
            (self.state, self.is_ripe) = (State::Scheduled, false);
        }
    }

    /// A worker runs it, whichever of its messages came. False: nothing is to be done.
    pub fn complete(&mut self) -> bool {
        let is_admitted = self.state == State::Queued;
        if is_admitted {
            self.state = State::Completed;
        }
        is_admitted
    }

    /// An execution failed that began with this attempt. False: someone newer has charge.
    pub fn fail(&mut self, attempt: u8) -> bool {
        let is_ours = self.has(attempt);
        if is_ours {
            self.failures += 1;
            self.is_ripe = false;
            self.state = if self.failures >= FAILURES_MAX { State::Failed } else { State::Scheduled };
        }
        is_ours
    }

    /// A failure is counted before it runs. `None`: it does not run.
    pub fn suspect(&mut self) -> Option<u8> {
        if self.state != State::Queued {
            return None;
        }
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.state = State::Failed;
            return None;
        }
        Some(self.attempt)
    }

    /// False: it has ended.
    pub fn cancel(&mut self) -> bool {
        let may = self.state.is_open() || self.state == State::Failed;
        if may {
            self.state = State::Cancelled;
        }
        may
    }

    /// False: it has ended.
    pub fn reschedule(&mut self, is_due: bool) -> bool {
        let may = self.state.is_open();
        if may {
            (self.state, self.is_due, self.is_ripe) = (State::Scheduled, is_due, is_due);
        }
        may
    }

    /// Asked for now, while it is open. False: it is on its way already.
    pub fn bring_forward(&mut self) -> bool {
        self.state == State::Scheduled && self.reschedule(true)
    }

    /// False: it has not failed.
    pub fn retry(&mut self) -> bool {
        let may = self.state == State::Failed;
        if may {
            (self.state, self.failures, self.is_ripe) = (State::Scheduled, 0, true);
        }
        may
    }
}
