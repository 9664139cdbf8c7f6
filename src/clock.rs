//! The only source of the machine's now. The rules never read it: they are told.
//!
//! On PostgreSQL the database's clock decides, so that machines may disagree; on SQLite the database has no clock but
//! this one.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::calendar::to_micros;
use crate::fault;

/// Where now comes from: the system, or a test.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed: Option<Arc<Mutex<DateTime<Utc>>>>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`] is called. Its clones move with it.
    #[must_use]
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self { fixed: Some(Arc::new(Mutex::new(to_micros(at)))) }
    }

    /// Cut to microseconds.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.fixed {
            Some(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            None => to_micros(Utc::now() + fault::clock_ahead()),
        }
    }

    /// Moves a fixed clock; the system's goes by itself.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(at) = &self.fixed {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
