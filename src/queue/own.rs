//! The queue of a process that serves, for whoever asks about it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Connectivity, Depth, Queue, QueueError};
use crate::kept::Kept;

/// How long it may be kept how much waits: somebody may be looking whether what they did has helped.
const DEPTH_KEPT: Duration = Duration::from_secs(5);

/// There once the database has said which installation this is.
#[derive(Clone)]
pub struct OwnQueue {
    queue: watch::Receiver<Option<Arc<dyn Queue>>>,
    depth: Arc<Kept<Depth>>,
}

impl OwnQueue {
    #[must_use]
    pub fn new(queue: watch::Receiver<Option<Arc<dyn Queue>>>) -> Self {
        Self { queue, depth: Arc::new(Kept::for_at_most(DEPTH_KEPT)) }
    }

    #[must_use]
    pub fn get(&self) -> Option<Arc<dyn Queue>> {
        self.queue.borrow().clone()
    }

    /// Messages ready in each queue. Up to ten seconds old where a busy broker was slow to say it and is well.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where the broker is away, or does not answer in time; and where there is no queue yet.
    pub async fn depth(&self) -> Result<Arc<Depth>, QueueError> {
        let Some(queue) = self.get() else {
            return Err(QueueError::Unavailable("not tried yet".into()));
        };
        // It may be told also while nothing can be published, and then it is what somebody wants to know.
        if *queue.connectivity().borrow() != Connectivity::Up {
            return queue.depth().await.map(Arc::new);
        }
        self.depth.or_find(async move { queue.depth().await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::memory::MemoryQueue;

    #[tokio::test]
    async fn what_a_slow_broker_said_is_kept_while_it_is_well() {
        let (sender, receiver) = watch::channel(None);
        let own = OwnQueue::new(receiver);
        assert!(own.depth().await.is_err(), "there is none yet");

        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new());
        sender.send_replace(Some(Arc::clone(&queue)));
        let said = Depth { single: 1, campaign: 2, dead: 3 };
        let slowly = async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, QueueError>(said)
        };
        assert_eq!(*own.depth.or_find(slowly).await.unwrap(), said);
        assert_eq!(*own.depth().await.unwrap(), said);

        queue.close().await;
        assert_eq!(*own.depth().await.unwrap(), Depth::default());
    }
}
