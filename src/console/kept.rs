//! What takes long to find out, and is asked for with each page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// What is found in less is found anew each time.
const SLOW: Duration = Duration::from_millis(50);

/// It is kept for so many times as long as it took, so that finding it out takes a hundredth of the time at most.
const TIMES_KEPT: u32 = 100;

/// Who asks while it is being found out waits for the same answer.
pub struct Kept<T>(Mutex<Option<Found<T>>>);

struct Found<T> {
    value: Arc<T>,
    until: Instant,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    pub async fn or_find<E>(&self, find: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut kept = self.0.lock().await;
        if let Some(found) = &*kept
            && Instant::now() < found.until
        {
            return Ok(Arc::clone(&found.value));
        }
        let begun = Instant::now();
        let value = Arc::new(find.await?);
        let took = begun.elapsed();
        *kept = (took >= SLOW).then(|| Found { value: Arc::clone(&value), until: Instant::now() + took * TIMES_KEPT });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_took_long_is_kept_and_what_did_not_is_found_anew() {
        let (quick, slow) = (Kept::default(), Kept::default());
        for found in [1, 2] {
            assert_eq!(*quick.or_find(async { Ok::<_, ()>(found) }).await.unwrap(), found);
        }
        let takes_long = async {
            tokio::time::sleep(SLOW).await;
            Ok::<_, ()>(1)
        };
        assert_eq!(*slow.or_find(takes_long).await.unwrap(), 1);
        assert_eq!(*slow.or_find(async { Ok::<_, ()>(2) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_error_is_not_kept() {
        let kept = Kept::default();
        assert_eq!(kept.or_find(async { Err::<i32, _>("away") }).await, Err("away"));
        assert_eq!(kept.or_find(async { Ok::<_, &str>(1) }).await.as_deref(), Ok(&1));
    }
}
