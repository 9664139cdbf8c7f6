//! The rig's servers are like those of other tests.

pub use crate::support::servers::{CONSUMER_TIMEOUT, Postgres, Rabbit, free_port, signal};
