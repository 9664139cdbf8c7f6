//! What takes long to find out, and is asked for again and again.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// What is found in less is found anew each time.
const SLOW: Duration = Duration::from_millis(50);

/// It is kept for so many times as long as it took, so that finding it out takes a hundredth of the time at most.
const TIMES_KEPT: u32 = 100;

/// Who asks first waits until it is found out, and who asks meanwhile waits for the same answer. Who asks when its time is up
/// has it found out anew for those who follow, and is told what was kept; that is waited for only where nobody asked for as
/// long again.
pub struct Kept<T>(Arc<Mutex<Option<Found<T>>>>);

struct Found<T> {
    value: Arc<T>,
    kept_for: Duration,
    until: Instant,
    /// Begun when its time was up.
    finding_anew: Option<JoinHandle<()>>,
}

impl<T> Found<T> {
    /// None where it was quick.
    fn of(value: &Arc<T>, took: Duration) -> Option<Self> {
        let kept_for = took * TIMES_KEPT;
        (took >= SLOW).then(|| Self {
            value: Arc::clone(value),
            kept_for,
            until: Instant::now() + kept_for,
            finding_anew: None,
        })
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub async fn or_find<E: Display + Send + 'static>(
        &self,
        find: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let mut kept = self.0.lock().await;
        let begun = Instant::now();
        if let Some(found) = &mut *kept
            && begun < found.until + found.kept_for
        {
            if begun >= found.until && found.finding_anew.as_ref().is_none_or(JoinHandle::is_finished) {
                found.until = begun + found.kept_for; // where it fails, not sooner again
                found.finding_anew = Some(tokio::spawn(find_anew(Arc::clone(&self.0), find)));
            }
            return Ok(Arc::clone(&found.value));
        }
        let value = Arc::new(find.await?);
        *kept = Found::of(&value, begun.elapsed());
        Ok(value)
    }
}

/// What can't be found out stays as it was.
async fn find_anew<T, E: Display>(kept: Arc<Mutex<Option<Found<T>>>>, find: impl Future<Output = Result<T, E>>) {
    let begun = Instant::now();
    match find.await {
        Ok(value) => *kept.lock().await = Found::of(&Arc::new(value), begun.elapsed()),
        Err(error) => tracing::warn!("what is shown is still as it was kept: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn slowly<E>(found: Result<i32, E>) -> Result<i32, E> {
        tokio::time::sleep(SLOW).await;
        found
    }

    #[tokio::test]
    async fn what_took_long_is_kept_and_what_did_not_is_found_anew() {
        let (quick, slow) = (Kept::default(), Kept::default());
        for found in [1, 2] {
            assert_eq!(*quick.or_find(async move { Ok::<_, &str>(found) }).await.unwrap(), found);
        }
        assert_eq!(*slow.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        assert_eq!(*slow.or_find(async { Ok::<_, &str>(2) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn whose_time_is_up_is_found_anew_behind_who_asks() {
        let kept = Kept::default();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        kept.0.lock().await.as_mut().unwrap().until = Instant::now();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(2))).await.unwrap(), 1, "nobody waits for it");
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(3))).await.unwrap(), 1, "it is being found out already");
        let found = async {
            while *kept.or_find(async { Ok::<_, &str>(4) }).await.unwrap() != 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.unwrap();
    }

    #[tokio::test]
    async fn what_nobody_asked_for_in_a_long_time_is_waited_for() {
        let kept = Kept::default();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        {
            let mut found = kept.0.lock().await;
            let found = found.as_mut().unwrap();
            found.kept_for = Duration::ZERO;
            found.until = Instant::now();
        }
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(2))).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_error_is_not_kept() {
        let kept = Kept::default();
        assert_eq!(kept.or_find(async { Err::<i32, _>("away") }).await, Err("away"));
        assert_eq!(kept.or_find(async { Ok::<_, &str>(1) }).await.as_deref(), Ok(&1));
    }
}
