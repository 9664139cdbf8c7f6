//! disconnectd disconnects customer accounts: now, at a date, or in campaigns of any size.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod import;
pub mod queue;
pub mod store;
