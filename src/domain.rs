//! The rules, pure: no runtime, no database, no broker and no web in here (a test holds that).
//!
//! `plan` is the heart: what one disconnect does to one account, as data. The other files hold the words that it is
//! said in, and the decisions that the stores ask for while they hold their locks.

pub mod account;
pub mod actor;
pub mod address;
pub mod calendar;
pub mod campaign;
pub mod digest;
pub mod dispositions;
pub mod event;
pub mod family;
pub mod filter;
pub mod glance;
pub mod import;
pub mod invoice;
pub mod message;
pub mod money;
pub mod overview;
pub mod pace;
pub mod plan;
pub mod refusal;
pub mod request;
pub mod retry;
pub mod review;
#[cfg(test)]
mod sample;
pub mod settings;
pub mod story;
pub mod text;
pub mod token;
pub mod trace;
pub mod user;
pub mod window;
