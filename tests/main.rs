//! All tests that need the real parts: one binary, so that it links once. `tests/run` starts the servers for it.

mod behaviour;
mod browser;
mod fuzz;
mod http;
mod model;
mod program;
mod purity;
mod queue;
mod rig;
mod schema;
mod store;
mod support;
