//! How a campaign goes on, told while somebody looks: server-sent events, which the page's script puts in its place.
//!
//! Who listens holds no place of those that calls have: each look takes one, and gives it back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{ProgressPart, id_of};
use crate::api::Wanted;
use crate::api::problem::{Answer, Problem};
use crate::console::gate::{Place, Visitor};
use crate::console::reader::Reader;
use crate::console::{Shared, words};
use crate::domain::campaign::rate::Rate;
use crate::domain::campaign::{CampaignId, State as CampaignState};

/// How many may listen at once; whoever is not among them loads the page again.
const LISTENERS_MAX: usize = 64;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long a browser has to ask again, and its session is looked at.
const LISTEN_MAX: Duration = Duration::from_mins(5);

/// Who may listen.
#[derive(Clone)]
pub struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LISTENERS_MAX)))
    }
}

struct Listening {
    console: Shared,
    campaign: CampaignId,
    reader: Reader,
    until: Instant,
    rate: Rate,
    last: Option<String>,
    is_over: bool,
    _among_the_listeners: OwnedSemaphorePermit,
}

pub async fn listen(
    State(console): State<Shared>,
    visitor: Visitor,
    place: Place,
    Path(id): Path<String>,
) -> Answer<Response> {
    let campaign = id_of(&id)?;
    // An unknown one is a problem, and not an empty stream.
    console.store.campaign(campaign).await.map_err(words::problem)?;
    place.leave();
    let Ok(permit) = console.listeners.0.clone().try_acquire_owned() else {
        let detail = "As many listen as may at once. Load the page again to see how it goes on.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", detail));
    };
    let listening = Listening {
        console,
        campaign,
        reader: visitor.asked.reader,
        until: Instant::now() + LISTEN_MAX,
        rate: Rate::default(),
        last: None,
        is_over: false,
        _among_the_listeners: permit,
    };
    let events = unfold(listening, |mut listening| async move {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    Ok(Sse::new(events).into_response())
}

impl Listening {
    /// The next that is different. `None` ends the stream: it is over, the process stops, or the database is away; the
    /// browser asks again by itself.
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over && Instant::now() < self.until {
            if self.last.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = self.console.stop.asked() => return None,
                }
            }
            let place = self.console.room.take(Wanted::LOOK).await.ok()?;
            let campaign = self.console.store.campaign(self.campaign).await.ok()?;
            drop(place);
            self.rate.add(&campaign);
            let mut progress = ProgressPart::of(&campaign, self.reader);
            progress.rate = self.rate.told(|n| self.reader.count(n));
            let html = progress.render().ok()?;
            if campaign.state != CampaignState::Running {
                // There are other things to do with it now: the page is loaded again.
                self.is_over = true;
                return Some(Event::default().event("end").data(html));
            }
            if self.last.as_ref() != Some(&html) {
                self.last = Some(html.clone());
                return Some(Event::default().event("progress").data(html));
            }
        }
        None
    }
}
