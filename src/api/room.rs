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

/// How many calls may run that anybody can send. A sign-in is over in some milliseconds, but for its password, which has
/// bounds of its own.
const STRANGERS: u32 = 2;

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
    /// For short writes: they wait for what others hold in the database, and no look shall stand behind them.
    for_writes: Arc<Semaphore>,
    writes: Writes,
    /// For those that anybody may send.
    for_strangers: Arc<Semaphore>,
    stop: Shutdown,
}

/// Where short writes have their places.
#[derive(Debug, Clone, Copy)]
enum Writes {
    /// Among those of all calls, with some left to looks.
    Among,
    /// Besides, so many.
    Besides(u32),
}

/// What a call wants room for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub is_write: bool,
    pub is_long: bool,
    /// Nobody knows who asks.
    pub is_strangers: bool,
}

impl Wanted {
    pub const LOOK: Self = Self { is_write: false, is_long: false, is_strangers: false };
    pub const WRITE: Self = Self { is_write: true, ..Self::LOOK };
    pub const SIGN_IN: Self = Self { is_strangers: true, ..Self::WRITE };
}

/// A place for one call, free again once it is dropped.
#[derive(Debug)]
pub struct Taken {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Room {
    /// For a pool of so many connections; no call begins after the stop.
    #[must_use]
    pub fn beside(connections: u32, stop: Shutdown) -> Self {
        // A call holds one connection at a time. One call may run however few there are.
        let count = connections.saturating_sub(CONNECTIONS_LEFT).max(1);
        let for_long = places((count / 2).max(1));
        let for_writes = places(count.saturating_sub((count / 4).max(1)).max(1));
        let for_strangers = places(STRANGERS);
        Self { places: places(count), count, for_long, for_writes, writes: Writes::Among, for_strangers, stop }
    }

    /// With places for short writes besides, where those hold none of the connections while they wait.
    #[must_use]
    pub fn with_writes(self, count: Option<u32>) -> Self {
        let Some(count) = count else { return self };
        Self { for_writes: places(count), writes: Writes::Besides(count), ..self }
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
            // Always in this order, and the place that all want comes last.
            let is_short_write = wanted.is_write && !wanted.is_long;
            let is_besides = is_short_write && matches!(self.writes, Writes::Besides(_));
            let mut taken = Vec::new();
            for (places, is_wanted) in [
                (&self.for_strangers, wanted.is_strangers),
                (&self.for_long, wanted.is_long),
                (&self.for_writes, is_short_write),
                (&self.places, !is_besides),
            ] {
                if is_wanted {
                    taken.push(places.clone().acquire_owned().await?);
                }
            }
            Ok::<_, AcquireError>(Taken { _places: taken })
        };
        let place = tokio::select! {
            place = tokio::time::timeout(WAIT_MAX, take) => place,
            () = self.stop.asked() => return Err(stopping()),
        };
        match place {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(too_busy("as many calls run, or wait, as may at once; send it again in a moment")),
        }
    }

    /// Returns once no call runs. After the stop it stays so.
    pub async fn is_empty(&self) {
        // An error means that it is closed, which it never is.
        let _ = self.places.acquire_many(self.count).await;
        if let Writes::Besides(count) = self.writes {
            let _ = self.for_writes.acquire_many(count).await;
        }
    }
}

fn places(count: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count as usize)) // more than fit in one, no pool has
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
        assert!(room.take(Wanted { is_long: true, ..Wanted::WRITE }).await.is_ok());
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
    async fn short_writes_leave_a_place_to_looks() {
        let (_handle, stop) = Shutdown::new();
        let room = Room::beside(8, stop);
        let mut writes = Vec::new();
        for _ in 0..3 {
            writes.push(room.take(Wanted::WRITE).await.unwrap());
        }
        assert_eq!(room.take(Wanted::WRITE).await.unwrap_err().code, "too_busy");
        assert!(room.take(Wanted::LOOK).await.is_ok());
        writes.pop();
        assert!(room.take(Wanted::WRITE).await.is_ok());
    }

    #[tokio::test]
    async fn short_writes_with_places_of_their_own_and_all_others_are_not_in_each_others_way() {
        let (handle, stop) = Shutdown::new();
        let room = Room::beside(6, stop).with_writes(Some(1));
        let write = room.take(Wanted::WRITE).await.unwrap();
        assert_eq!(room.take(Wanted::WRITE).await.unwrap_err().code, "too_busy");
        let import = room.take(Wanted { is_long: true, ..Wanted::WRITE }).await.unwrap();
        let look = room.take(Wanted::LOOK).await.unwrap();
        assert_eq!(room.take(Wanted::LOOK).await.unwrap_err().code, "too_busy");
        drop((look, import));
        handle.stop();
        assert!(tokio::time::timeout(SOON, room.is_empty()).await.is_err(), "the write runs still");
        drop(write);
        assert!(tokio::time::timeout(SOON, room.is_empty()).await.is_ok());
    }

    #[tokio::test]
    async fn strangers_leave_places_to_those_who_are_known() {
        let (_handle, stop) = Shutdown::new();
        let room = Room::beside(8, stop).with_writes(Some(4));
        let strangers = [room.take(Wanted::SIGN_IN).await.unwrap(), room.take(Wanted::SIGN_IN).await.unwrap()];
        assert_eq!(room.take(Wanted::SIGN_IN).await.unwrap_err().code, "too_busy");
        assert!(room.take(Wanted::WRITE).await.is_ok());
        drop(strangers);
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
