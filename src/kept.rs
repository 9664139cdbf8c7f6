//! What takes long to find out, and is asked for again and again.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// What is found in less is found anew each time.
const SLOW: Duration = Duration::from_millis(20);

/// It is kept for so many times as long as it took, so that finding it out takes a hundredth of the time at most; but never
/// longer than who keeps it wants.
const TIMES_KEPT: u32 = 100;

/// Who asks first waits until it is found out, and who asks meanwhile waits for the same answer. Who asks when its time is up
/// has it found out anew for those who follow, and is told what was kept; that is waited for only where nobody asked for as
/// long again, or where it failed.
pub struct Kept<T> {
    found: Arc<Mutex<Option<Found<T>>>>,
    at_most: Duration,
}

struct Found<T> {
    value: Arc<T>,
    kept_for: Duration,
    until: Instant,
    /// Begun when its time was up.
    finding_anew: Option<JoinHandle<()>>,
}

impl<T> Found<T> {
    /// None where it was quick.
    fn of(value: &Arc<T>, took: Duration, at_most: Duration) -> Option<Self> {
        let kept_for = (took * TIMES_KEPT).min(at_most);
        (took >= SLOW).then(|| Self {
            value: Arc::clone(value),
            kept_for,
            until: Instant::now() + kept_for,
            finding_anew: None,
        })
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    #[must_use]
    pub fn for_at_most(at_most: Duration) -> Self {
        Self { found: Arc::default(), at_most }
    }

    pub async fn or_find<E: Display + Send + 'static>(
        &self,
        find: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let mut kept = self.found.lock().await;
        let begun = Instant::now();
        if let Some(found) = &mut *kept
            && begun < found.until + found.kept_for
        {
            if begun >= found.until && found.finding_anew.as_ref().is_none_or(JoinHandle::is_finished) {
                found.until = begun + found.kept_for; // lest the next one who asks begins it again
                found.finding_anew = Some(tokio::spawn(find_anew(Arc::clone(&self.found), self.at_most, find)));
            }
            return Ok(Arc::clone(&found.value));
        }
        let value = Arc::new(find.await?);
        *kept = Found::of(&value, begun.elapsed(), self.at_most);
        Ok(value)
    }
}

/// Where it can't be found out, whoever asks next is told so.
async fn find_anew<T, E: Display>(
    kept: Arc<Mutex<Option<Found<T>>>>,
    at_most: Duration,
    find: impl Future<Output = Result<T, E>>,
) {
    let begun = Instant::now();
    let found = find.await;
    let took = begun.elapsed();
    *kept.lock().await = match found {
        Ok(value) => Found::of(&Arc::new(value), took, at_most),
        Err(error) => {
            tracing::debug!(%error, "what was kept is forgotten");
            None
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept<T: Send + Sync + 'static>() -> Kept<T> {
        Kept::for_at_most(Duration::from_secs(60))
    }

    async fn slowly<E>(found: Result<i32, E>) -> Result<i32, E> {
        tokio::time::sleep(SLOW).await;
        found
    }

    #[tokio::test]
    async fn what_took_long_is_kept_and_what_did_not_is_found_anew() {
        // On a busy machine what is quick may take long now and then, but not each time.
        let mut found_anew = false;
        for _ in 0..100 {
            let quick = kept();
            assert_eq!(*quick.or_find(async { Ok::<_, &str>(1) }).await.unwrap(), 1);
            found_anew |= *quick.or_find(async { Ok::<_, &str>(2) }).await.unwrap() == 2;
        }
        assert!(found_anew);
        let slow = kept();
        assert_eq!(*slow.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        assert_eq!(*slow.or_find(async { Ok::<_, &str>(2) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn whose_time_is_up_is_found_anew_behind_who_asks() {
        let kept = kept();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        kept.found.lock().await.as_mut().unwrap().until = Instant::now();
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
        let kept = kept();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        {
            let mut found = kept.found.lock().await;
            let found = found.as_mut().unwrap();
            found.kept_for = Duration::ZERO;
            found.until = Instant::now();
        }
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(2))).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_can_not_be_found_anew_is_forgotten() {
        let kept = kept();
        assert_eq!(*kept.or_find(slowly(Ok::<_, &str>(1))).await.unwrap(), 1);
        kept.found.lock().await.as_mut().unwrap().until = Instant::now();
        assert_eq!(*kept.or_find(async { Err("away") }).await.unwrap(), 1, "nobody waits for it");
        let told = async {
            while kept.or_find(async { Err("away") }).await != Err("away") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    }

    #[test]
    fn it_is_kept_for_no_longer_than_wanted() {
        let found = |took| Found::of(&Arc::new(1), took, Duration::from_secs(7)).map(|found| found.kept_for);
        assert_eq!(found(SLOW / 2), None);
        assert_eq!(found(SLOW), Some(SLOW * TIMES_KEPT));
        assert_eq!(found(SLOW * 4), Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn an_error_is_not_kept() {
        let kept = kept();
        assert_eq!(kept.or_find(async { Err::<i32, _>("away") }).await, Err("away"));
        assert_eq!(kept.or_find(async { Ok::<_, &str>(1) }).await.as_deref(), Ok(&1));
    }
}
