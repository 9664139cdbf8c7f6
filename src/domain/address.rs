//! Serviceable addresses: places that can be served, tied to accounts by assignments whose history stays.

use chrono::{DateTime, Utc};

/// The database's key of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssignmentId(pub i64);

/// The open assignment of an account; it has at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub id: AssignmentId,
    pub address: String,
    pub from: DateTime<Utc>,
}
