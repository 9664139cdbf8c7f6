//! What many events that are scheduled for later do to the others: `benches/growth`, `benches/latency`.

#[path = "scheduled/growth.rs"]
mod growth;
#[path = "scheduled/latency.rs"]
mod latency;
mod serving;
#[path = "scheduled/side.rs"]
mod side;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo adds options of its own.
    let which = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    match which.as_deref() {
        Some("growth") => growth::run().await,
        Some("latency") => latency::run().await,
        _ => bail!("run benches/growth or benches/latency"),
    }
}
