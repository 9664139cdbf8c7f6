//! Room for calls: how many run at once, and how a stop waits for those that do.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{AcquireError, Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

use super::problem::{Answer, Problem};
use crate::shutdown::Shutdown;

/// How many connections to the database the calls leave to others, where there are as many: one each for the scheduler,
/// the worker, readiness, and the tokens of those who ask. However many ask, the work goes on.
const CONNECTIONS_LEFT: u32 = 4;

/// How long a call waits for room. A call is over in some milliseconds, so that a burst passes; who waits for longer
/// had better come back.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// When a call that found no room, or a process that stops, may come again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Clones see the same.
#[derive(Debug, Clone)]
pub struct Room {
    places: Arc<Semaphore>,
    count: u32,
    /// Those of the places that long calls may take: a pause must not stand behind dry runs of a million accounts.
    for_long: Arc<Semaphore>,
    stop: Shutdown,
}

/// A place for one call, free again once it is dropped.
#[derive(Debug)]
pub struct Taken {
    _place: OwnedSemaphorePermit,
    _among_the_long: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For a pool of so many connections; no call begins after the stop.
    #[must_use]
    pub fn beside(connections: u32, stop: Shutdown) -> Self {
        // A call holds one connection at a time. One call may run however few there are.
        let count = connections.saturating_sub(CONNECTIONS_LEFT).max(1);
        let places = |count: u32| Arc::new(Semaphore::new(count as usize)); // more than fit in one, no pool has
        let for_long = places((count / 2).max(1));
        Self { places: places(count), count, for_long, stop }
    }

    /// A place for one call, which may be a long one.
    ///
    /// # Errors
    /// There was none for as long as it is worth waiting, or the process stops.
    pub async fn take(&self, is_long: bool) -> Answer<Taken> {
        if self.stop.is_asked() {
            return Err(stopping());
        }
        let take = async {
            // First of all this one: who waits for it holds no place of others.
            let among_the_long = if is_long { Some(self.for_long.clone().acquire_owned().await?) } else { None };
            let place = self.places.clone().acquire_owned().await?;
            Ok::<_, AcquireError>(Taken { _place: place, _among_the_long: among_the_long })
        };
        let place = tokio::select! {
            place = tokio::time::timeout(WAIT_MAX, take) => place,
            () = self.stop.asked() => return Err(stopping()),
        };
        match place {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(too_busy("as many calls run as may at once; send it again in a moment")),
        }
    }

    /// Returns once no call runs. After the stop it stays so.
    pub async fn is_empty(&self) {
        // An error means that it is closed, which it never is.
        let _ = self.places.acquire_many(self.count).await;
    }
}

/// What runs one at a time: it reads everything there is.
#[derive(Debug, Default)]
pub struct OneAtATime(Mutex<()>);

impl OneAtATime {
    /// # Errors
    /// Another one runs.
    pub fn begin(&self) -> Answer<MutexGuard<'_, ()>> {
        self.0.try_lock().map_err(|_| too_busy("another call looks at everything just now; send it again in a moment"))
    }
}

fn too_busy(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", detail).retry_after(AGAIN_AFTER)
}

fn stopping() -> Problem {
    let detail = "this process stops, and begins nothing new; ask another, or this one when it is back";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).retry_after(AGAIN_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than it takes to see that something does not wait.
    const SOON: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn as_many_calls_run_as_leave_the_others_their_connections() {
        let (_handle, stop) = Shutdown::new();
        assert_eq!(Room::beside(10, stop.clone()).count, 6);
        let room = Room::beside(1, stop);
        let place = room.take(false).await.unwrap();
        assert_eq!(room.take(false).await.unwrap_err().code, "too_busy");
        drop(place);
        assert!(room.take(true).await.is_ok());
    }

    #[tokio::test]
    async fn long_calls_leave_half_of_the_places_to_others() {
        let (_handle, stop) = Shutdown::new();
        let room = Room::beside(8, stop);
        let long = [room.take(true).await.unwrap(), room.take(true).await.unwrap()];
        assert_eq!(room.take(true).await.unwrap_err().code, "too_busy");
        let others = [room.take(false).await.unwrap(), room.take(false).await.unwrap()];
        assert_eq!(room.take(false).await.unwrap_err().code, "too_busy");
        drop(long);
        drop(others);
        assert!(room.take(true).await.is_ok());
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_calls_that_run_and_begins_no_other() {
        let (handle, stop) = Shutdown::new();
        let room = Room::beside(10, stop);
        let place = room.take(false).await.unwrap();
        handle.stop();
        assert_eq!(room.take(false).await.unwrap_err().code, "stopping");
        assert!(tokio::time::timeout(SOON, room.is_empty()).await.is_err(), "it runs still");
        drop(place);
        assert!(tokio::time::timeout(SOON, room.is_empty()).await.is_ok());
    }

    #[test]
    fn one_alone_looks_at_everything() {
        let one = OneAtATime::default();
        let held = one.begin().unwrap();
        assert_eq!(one.begin().unwrap_err().code, "too_busy");
        drop(held);
        assert!(one.begin().is_ok());
    }
}
