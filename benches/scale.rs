//! What a day of ten million disconnects would take of each part: `benches/slopes`, `benches/soak`.

#[path = "scale/meter.rs"]
mod meter;
mod server;
mod serving;
#[path = "scale/slopes.rs"]
mod slopes;
#[path = "scale/soak.rs"]
mod soak;

use std::sync::Arc;

use anyhow::{Result, bail};
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::store::Installations;
use disconnectd::store::postgres::PostgresStore;

use self::server::Server;
use self::serving::{Roles, Serving};

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo adds options of its own.
    let which = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    match which.as_deref() {
        Some("slopes") => slopes::run().await,
        Some("soak") => soak::run().await,
        _ => bail!("run benches/slopes or benches/soak"),
    }
}

/// One process of a fleet, but for the process: its pool and its connections to the broker are its own.
struct Member {
    serving: Serving,
    store: Arc<PostgresStore>,
}

impl Member {
    async fn begin(server: &Server, database: &str, roles: Roles) -> Result<Self> {
        let store = Arc::new(PostgresStore::connect(database, 10)?);
        let installation = store.installation().await?;
        let queue = Arc::new(RabbitQueue::new(&server.amqp, &installation.id)?);
        Ok(Self { serving: Serving::begin(roles, store.clone(), queue, database).await?, store })
    }

    async fn end(self) -> Result<()> {
        self.serving.end().await?;
        self.store.close().await;
        Ok(())
    }
}

fn variable<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
