//! Schedulers and workers, as `serve` runs them, with the configuration that is there by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use disconnectd::clock::Clock;
use disconnectd::config::{Config, Environment};
use disconnectd::health::Health;
use disconnectd::queue::{Connectivity, Queue};
use disconnectd::scheduler::Scheduler;
use disconnectd::shutdown::{Shutdown, StopHandle};
use disconnectd::store::{Serving as Served, Store};
use disconnectd::worker::Worker;
use tokio::task::JoinHandle;

/// What one of them runs.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    pub scheduler: bool,
    pub worker: bool,
}

pub struct Serving {
    tasks: Vec<JoinHandle<()>>,
    stop: StopHandle,
    queue: Arc<dyn Queue>,
    _served: Served,
}

pub async fn until_connected(queue: &dyn Queue) -> Result<()> {
    let mut connectivity = queue.connectivity();
    tokio::time::timeout(Duration::from_secs(10), connectivity.wait_for(|c| *c == Connectivity::Up)).await??;
    Ok(())
}

impl Serving {
    /// Once the queue is there.
    pub async fn begin(roles: Roles, store: Arc<dyn Store>, queue: Arc<dyn Queue>, database: &str) -> Result<Self> {
        let environment = Environment { database_url: Some(database.to_owned()), ..Environment::default() };
        let config = Config::load(None, &environment)?;
        let served = store.serve("bench").await?;
        until_connected(&*queue).await?;
        let (handle, stop) = Shutdown::new();
        let health = Arc::new(Health::default());
        let mut tasks = Vec::new();
        if roles.scheduler {
            let scheduler = Scheduler {
                store: store.clone(),
                queue: queue.clone(),
                health: health.clone(),
                clock: Clock::system(),
                config: config.scheduler,
                failures_max: config.failures_max,
            };
            tasks.push(tokio::spawn(scheduler.run(stop.clone())));
        }
        if roles.worker {
            let worker = Worker::new(store, health, config.worker);
            tasks.push(tokio::spawn(worker.run(queue.clone(), stop)));
        }
        Ok(Self { tasks, stop: handle, queue, _served: served })
    }

    pub async fn end(self) -> Result<()> {
        self.stop.stop();
        for task in self.tasks {
            task.await?;
        }
        self.queue.close().await;
        Ok(())
    }
}
