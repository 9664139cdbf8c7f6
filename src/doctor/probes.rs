//! What `doctor` looks at besides the database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Probe;
use crate::config::{Config, DatabaseUrl, QueueUrl, Secret};
use crate::engines;
use crate::queue::own::OwnQueue;
use crate::queue::{Connectivity, Depth, Queue, QueueError};
use crate::store::Store;
use crate::store::postgres::Proof;

/// How long the broker may take to be reached and to answer. Less than the look may take in all, which would cut off why it is not.
pub const QUEUE_WAIT: Duration = Duration::from_secs(3);

/// And how long the goodbye, for the same reason.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// For a command, which connects for it.
#[must_use]
pub fn all(config: &Config, store: &Arc<dyn Store>) -> Vec<Arc<dyn Probe>> {
    with_queue(config, store, None)
}

/// For a server, which asks by the connections that it has, once it has some.
#[must_use]
pub fn of_server(config: &Config, store: &Arc<dyn Store>, queue: &OwnQueue) -> Vec<Arc<dyn Probe>> {
    with_queue(config, store, Some(queue.clone()))
}

fn with_queue(config: &Config, store: &Arc<dyn Store>, own: Option<OwnQueue>) -> Vec<Arc<dyn Probe>> {
    let config = Arc::new(config.clone());
    vec![Arc::new(Configuration(config.clone())), Arc::new(Broker { config, store: store.clone(), own })]
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
    own: Option<OwnQueue>,
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
        if let Some(own) = &self.own
            && let Some(queue) = own.get()
        {
            let is_known = |now: &Connectivity| *now != Connectivity::Starting;
            let depth = async { own.depth().await.map(|depth| *depth) };
            return asked(&*queue, depth, &installation.id, is_known).await;
        }
        let queue = engines::open_queue(&self.config, &installation).map_err(|error| error.to_string())?;
        // It tries again where it is refused at first.
        let found = asked(&*queue, queue.depth(), &installation.id, |now| *now == Connectivity::Up).await;
        // The goodbye goes on without us where it takes longer.
        let _ = tokio::time::timeout(CLOSE_WAIT, queue.close()).await;
        found
    }
}

/// Once it is known whether it can be.
async fn asked(
    queue: &dyn Queue,
    depth: impl Future<Output = Result<Depth, QueueError>> + Send,
    installation: &str,
    is_known: impl FnMut(&Connectivity) -> bool + Send,
) -> Result<String, String> {
    let mut connectivity = queue.connectivity();
    let looking = async {
        let _ = connectivity.wait_for(is_known).await; // an error is a queue that was closed: it says so below
        match &*queue.connectivity().borrow() {
            Connectivity::Down(reason) => return Err(reason.clone()),
            Connectivity::Up | Connectivity::Starting => {}
        }
        depth.await.map_err(|error| error.to_string())
    };
    let depth = match tokio::time::timeout(QUEUE_WAIT, looking).await {
        Ok(depth) => depth?,
        Err(_) => match &*queue.connectivity().borrow() {
            Connectivity::Down(reason) => return Err(reason.clone()),
            Connectivity::Up | Connectivity::Starting => return Err("RabbitMQ does not answer in time".into()),
        },
    };
    if depth.dead > 0 {
        return Err(format!(
            "{} messages in the dead-letter queue disconnectd.dead.{installation}, which `queue dead list` shows: something \
             else writes to these queues, or they came back too often",
            depth.dead
        ));
    }
    Ok(format!("answers; {} messages wait", depth.single + depth.campaign))
}
