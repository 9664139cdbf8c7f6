//! The protocol as plain code: the [`row`] of an event and what each verb makes of it. [`ways`] goes through everything that
//! two schedulers, two workers, a person and a faulty broker can do with one event; [`histories`] holds both stores against
//! the same row.

mod histories;
mod row;
mod ways;
