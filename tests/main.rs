//! All tests that need the real parts: one binary, so that it links once.

mod queue;
