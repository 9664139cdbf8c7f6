//! The store's contract: every verb, on both engines, by the same code.

mod account_import;
mod archive;
mod campaigns;
mod connections;
mod debit_import;
mod dispatch;
mod dispositions;
mod execution;
mod failures;
mod family;
mod glance;
mod groups;
mod history;
mod idempotency;
mod installation;
mod invoices;
mod lists;
mod migrations;
mod plans;
mod races;
mod requests;
mod serving;
mod settings;
mod story;
mod tokens;
mod users;
