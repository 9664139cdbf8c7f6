//! disconnectd disconnects customer accounts: now, at a date, or in campaigns of any size. This page is the map.
//!
//! ```text
//!   main -> cli ----------------> store (port) --> store/postgres, store/sqlite
//!       \-> serve -> scheduler ->   |    ^             |
//!                \-> worker ----> queue (port) --> queue/rabbitmq, queue/memory
//!                \-> api, console   domain (pure: what the stores and the worker ask)
//! ```
//!
//! A disconnect's way through it:
//! 1. [`cli`] or [`api`] shows an overview ([`domain::overview`]) with its [`domain::digest`], and takes the choice for
//!    each child ([`domain::dispositions`]); [`store::Events::request`] makes the events, if [`domain::request::admit`]
//!    lets it. [`domain::review`] says what there is to decide where a family changes later.
//! 2. The [`scheduler`] claims what is due ([`store::Dispatch`]), commits, and publishes its id to the [`queue`].
//! 3. The [`worker`] takes deliveries in batches and calls [`store::Execution::disconnect`]: one transaction that locks,
//!    loads a snapshot, asks [`domain::plan::plan_disconnect`], and writes the effects that it answers.
//! 4. After the commit the batch is acknowledged. Whatever is lost on the way comes again by the event's `next_at`.
//! 5. Some time after it has ended, the scheduler moves it to the archive ([`store::Archive`]), and it is shown as before.
//!    While much is written it also keeps lists quick ([`store::Dispatch::tend`]).
//!
//! A campaign's way ([`domain::campaign`], [`store::campaigns`]): its cohort is frozen from a list or by a
//! [`domain::filter`]; a dry run shows what it would do, and somebody agrees to that. The scheduler's upkeep makes events of
//! its members batch by batch, and its claim takes of each running campaign what pace, window, canary and shares allow.
//! From there on each is a disconnect like any other.
//!
//! Decisions are in [`domain`], which knows no runtime, database, broker or web. A store writes SQL and decides nothing;
//! both are held to one contract suite (`tests/store`), and both queues to another (`tests/queue`). [`engines`] picks
//! them from the [`config`]; [`demo`] runs the whole on sample data.
//!
//! Around it: [`console`] is the pages for people; [`import`] reads CSV and [`export`] writes it, [`health`], [`watch`] and
//! [`doctor`] tell how it goes, [`traces`] which way one disconnect went, [`backoff`] and [`shutdown`] are how everything
//! waits and stops, [`kept`] what is not found out anew each time, [`passwords`] hashes and checks them, [`clock`] is the
//! only source of the machine's now, and [`random`] of what nobody can foresee; [`tls`] is whom to trust. [`fault`] is where
//! tests break a process, and [`fuzz`] what they throw anything at.

pub mod api;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod demo;
pub mod doctor;
pub mod domain;
pub mod engines;
pub mod export;
pub mod fault;
pub mod fuzz;
pub mod health;
pub mod import;
pub mod kept;
pub mod passwords;
pub mod queue;
pub mod random;
pub mod scheduler;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod watch;
pub mod worker;
