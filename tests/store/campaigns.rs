//! Campaigns, from the cohort to the report. After each of these tests the counts and totals of every campaign are
//! compared with what the rows of its members, events and invoices say.

mod approval;
mod canary;
mod claim;
mod cohort;
mod commands;
mod counts;
mod dry_run;
mod eligibility;
mod events;
mod failures;
mod filters;
mod leftovers;
mod races;
mod report;
mod start;
mod templates;
