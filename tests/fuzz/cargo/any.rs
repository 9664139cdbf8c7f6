//! One of the targets of `disconnectd::fuzz`, by the name in the environment; see `tests/fuzz/run`.

#![no_main]

use std::sync::LazyLock;

use disconnectd::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("DISCONNECTD_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("DISCONNECTD_FUZZ_TARGET names no target: `{name}`")).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
