//! SQL for this engine.
