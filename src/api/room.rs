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
    /// Those that writes may take: they wait for what others hold in the database, and a look must not stand behind them.
    for_writes: Arc<Semaphore>,
    stop: Shutdown,
}

/// What a call wants room for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub is_write: bool,
    pub is_long: bool,
}

impl Wanted {
    pub const LOOK: Self = Self { is_write: false, is_long: false };
    pub const WRITE: Self = Self { is_write: true, is_long: false };
}

/// A place for one call, free again once it is dropped.
#[derive(Debug)]
pub struct Taken {
    _place: OwnedSemaphorePermit,
    _among_the_long: Option<OwnedSemaphorePermit>,
    _among_the_writes: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For a pool of so many connections; no call begins after the stop.
    #[must_use]
    pub fn beside(connections: u32, stop: Shutdown) -> Self {
        // A call holds one connection at a time. One call may run however few there are.
        let count = connections.saturating_sub(CONNECTIONS_LEFT).max(1);
        let places = |count: u32| Arc::new(Semaphore::new(count as usize)); // more than fit in one, no pool has
        let half = (count / 2).max(1);
        let (for_long, for_writes) = (places(half), places(half));
        Self { places: places(count), count, for_long, for_writes, stop }
    }

    /// A place for one call.
    ///
    /// # Errors
    /// There was none for as long as it is worth waiting, or the process stops.
    pub async fn take(&self, wanted: Wanted) -> Answer<Taken> {
        if self.stop.is_asked() {
            return Err(stopping());
        }
        let take = async {
            // These first, and always in this order: who waits for one holds no place that a short look could have.
            let among_the_long = one_of(&self.for_long, wanted.is_long).await?;
            let among_the_writes = one_of(&self.for_writes, wanted.is_write).await?;
            let place = self.places.clone().acquire_owned().await?;
            Ok::<_, AcquireError>(Taken {
                _place: place,
                _among_the_long: among_the_long,
                _among_the_writes: among_the_writes,
            })
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

async fn one_of(places: &Arc<Semaphore>, is_wanted: bool) -> Result<Option<OwnedSemaphorePermit>, AcquireError> {
    if is_wanted { places.clone().acquire_owned().await.map(Some) } else { Ok(None) }
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
        let place = room.take(Wanted::LOOK).await.unwrap();
        assert_eq!(room.take(Wanted::LOOK).await.unwrap_err().code, "too_busy");
        drop(place);
        assert!(room.take(Wanted { is_write: true, is_long: true }).await.is_ok());
    }

    #[tokio::test]
    async fn long_calls_leave_half_of_the_places_to_others() {
        let (_handle, stop) = Shutdown::new();
        let room = Room::beside(8, stop);
        let long = Wanted { is_long: true, ..Wanted::LOOK };
        let taken = [room.take(long).await.unwrap(), room.take(long).await.unwrap()];
        assert_eq!(room.take(long).await.unwrap_err().code, "too_busy");
        let others = [room.take(Wanted::LOOK).await.unwrap(), room.take(Wanted::LOOK).await.unwrap()];
        assert_eq!(room.take(Wanted::LOOK).await.unwrap_err().code, "too_busy");
        drop(taken);
        drop(others);
        assert!(room.take(long).await.is_ok());
    }

    #[tokio::test]
    async fn writes_leave_half_of_the_places_to_looks() {
        let (_handle, stop) = Shutdown::new();
        let room = Room::beside(8, stop);
        let write = Wanted::WRITE;
        let writes = [room.take(write).await.unwrap(), room.take(write).await.unwrap()];
        assert_eq!(room.take(write).await.unwrap_err().code, "too_busy");
        let looks = [room.take(Wanted::LOOK).await.unwrap(), room.take(Wanted::LOOK).await.unwrap()];
        drop(writes);
        assert!(room.take(Wanted { is_long: true, ..write }).await.is_ok());
        drop(looks);
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_calls_that_run_and_begins_no_other() {
        let (handle, stop) = Shutdown::new();
        let room = Room::beside(10, stop);
        let place = room.take(Wanted::LOOK).await.unwrap();
        handle.stop();
        assert_eq!(room.take(Wanted::LOOK).await.unwrap_err().code, "stopping");
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
