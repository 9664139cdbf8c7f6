//! The queue of a process that serves, for whoever asks about it.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Connectivity, Depth, Queue, QueueError};
use crate::kept::Kept;

/// There once the database has said which installation this is.
#[derive(Clone)]
pub struct OwnQueue {
    queue: watch::Receiver<Option<Arc<dyn Queue>>>,
    depth: Arc<Kept<Depth>>,
}

impl OwnQueue {
    #[must_use]
    pub fn new(queue: watch::Receiver<Option<Arc<dyn Queue>>>) -> Self {
        Self { queue, depth: Arc::default() }
    }

    #[must_use]
    pub fn get(&self) -> Option<Arc<dyn Queue>> {
        self.queue.borrow().clone()
    }

    /// Messages ready in each queue. Some seconds old where a busy broker was slow to say it.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where the broker is away, at once, or does not answer in time; and where there is no
    /// queue yet.
    pub async fn depth(&self) -> Result<Arc<Depth>, QueueError> {
        let Some(queue) = self.get() else {
            return Err(QueueError::Unavailable("not tried yet".into()));
        };
        if let Connectivity::Down(reason) = &*queue.connectivity().borrow() {
            return Err(QueueError::Unavailable(reason.clone()));
        }
        self.depth.or_find(async move { queue.depth().await }).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::memory::MemoryQueue;

    #[tokio::test]
    async fn what_a_slow_broker_said_is_kept_until_it_is_away() {
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
        assert!(matches!(own.depth().await, Err(QueueError::Unavailable(_))));
    }
}
