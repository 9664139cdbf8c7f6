//! What `doctor` looks at besides the database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Probe;
use crate::config::{Config, DatabaseUrl, QueueUrl, Secret};
use crate::engines;
use crate::queue::Connectivity;
use crate::store::Store;
use crate::store::postgres::Proof;

/// How long the broker may take to be reached. Less than the look may take in all, which would cut off why it is not.
const QUEUE_WAIT: Duration = Duration::from_secs(3);

/// And how long the goodbye, for the same reason.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

#[must_use]
pub fn all(config: &Config, store: &Arc<dyn Store>) -> Vec<Arc<dyn Probe>> {
    let config = Arc::new(config.clone());
    vec![Arc::new(Configuration(config.clone())), Arc::new(Broker { config, store: store.clone() })]
}

struct Configuration(Arc<Config>);

#[async_trait]
impl Probe for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    async fn look(&self) -> Result<String, String> {
        Ok(match (&self.0.database, &self.0.queue) {
            (DatabaseUrl::Sqlite(url), _) => format!("{}, in-process queue", url.trim_start_matches("sqlite://")),
            (DatabaseUrl::Postgres(url), QueueUrl::Memory) => {
                format!("{}, in-process queue: each process publishes to itself alone", postgres(url))
            }
            (DatabaseUrl::Postgres(url), QueueUrl::Amqp(queue)) => {
                let is_checked = queue.expose().starts_with("amqps:");
                let queue = if is_checked { "RabbitMQ, whose certificate is checked" } else { "RabbitMQ without TLS" };
                format!("{}; {queue}", postgres(url))
            }
        })
    }
}

fn postgres(url: &Secret) -> &'static str {
    match Proof::asked_by(url.expose()) {
        Proof::Name => "PostgreSQL, whose certificate is checked",
        Proof::Authority => {
            "PostgreSQL, whose certificate is checked, but not that it is this server's (sslmode=verify-full does that)"
        }
        Proof::Nothing => "PostgreSQL, whose certificate is not checked (sslmode=verify-full in its URL does that)",
    }
}

struct Broker {
    config: Arc<Config>,
    store: Arc<dyn Store>,
}

#[async_trait]
impl Probe for Broker {
    fn name(&self) -> &'static str {
        "queue"
    }

    /// For the installation's id, which is in the queues' names.
    fn needs_database(&self) -> bool {
        self.config.queue != QueueUrl::Memory
    }

    async fn look(&self) -> Result<String, String> {
        if self.config.queue == QueueUrl::Memory {
            return Ok("in the process that serves".into());
        }
        let installation = self
            .store
            .installation()
            .await
            .map_err(|_| "not looked at: the database has to say first which installation this is".to_owned())?;
        let queue = engines::open_queue(&self.config, &installation).map_err(|error| error.to_string())?;
        let mut connectivity = queue.connectivity();
        let up = connectivity.wait_for(|connectivity| *connectivity == Connectivity::Up);
        let is_up = matches!(tokio::time::timeout(QUEUE_WAIT, up).await, Ok(Ok(_)));
        let found = if is_up {
            match queue.depth().await {
                Ok(depth) if depth.dead > 0 => Err(format!(
                    "{} messages in the dead-letter queue disconnectd.dead.{}, which `queue dead list` shows: something \
                     else writes to these queues, or they came back too often",
                    depth.dead, installation.id
                )),
                Ok(depth) => Ok(format!("answers; {} messages wait", depth.single + depth.campaign)),
                Err(error) => Err(error.to_string()),
            }
        } else {
            Err(match &*queue.connectivity().borrow() {
                Connectivity::Down(reason) => reason.clone(),
                _ => "RabbitMQ does not answer in time".into(),
            })
        };
        // The goodbye goes on without us where it takes longer.
        let _ = tokio::time::timeout(CLOSE_WAIT, queue.close()).await;
        found
    }
}
