//! disconnectd disconnects customer accounts: now, at a date, or in campaigns of any size.

pub mod api;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engines;
pub mod health;
pub mod import;
pub mod queue;
pub mod scheduler;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod worker;
