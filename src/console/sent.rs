//! A form that is sent twice is carried out once. A double click, where no script disables the button, sends the same
//! form again before the answer to the first is shown, and what the browser shows is the answer to the second: it waits
//! for the first one's, and is answered the same.
//!
//! Every page gives its forms a mark of their own, so the same form on a page that was loaded again is another one. This
//! process remembers what it did; another one behind the same balancer does not know of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::Mutex as Turn;
use tracing::Instrument;

use super::page;
use crate::api::problem::{Answer, Problem};

/// How long an answer is remembered: nobody presses twice with more time between.
const KEPT: Duration = Duration::from_mins(1);

/// How many answers are remembered: those of busy people, a few hundred bytes each.
const KEPT_MAX: usize = 1_000;

/// Tells a form that was sent from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SentForm(pub [u8; 32]);

/// Marks an answer that shows what no other will: the one to the same form has to be the same.
#[derive(Clone)]
pub struct ShownOnce;

/// What was sent of late, and what was answered.
#[derive(Default)]
pub struct SentForms(Mutex<HashMap<SentForm, Sent>>);

/// Whose turn it is carries the form out, or finds the answer.
type Sent = Arc<Turn<Option<Kept>>>;

struct Kept {
    /// When it was answered.
    at: Instant,
    /// False: it is for those alone who were waiting when it was given.
    is_done: bool,
    /// For the page that says what went wrong.
    problem: Option<Problem>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    fn again(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if let Some(problem) = &self.problem {
            response.extensions_mut().insert(problem.clone());
        }
        response
    }
}

impl SentForms {
    /// Carries out what a form asks for, in a task of its own: a browser that goes away does not stop it half-way. Where
    /// the same form is under way it is answered as that one will be, and where something was done, as that one was. What
    /// was refused or failed before is tried again.
    ///
    /// # Errors
    /// It panicked, which is a bug.
    pub async fn once<F>(&self, form: Option<SentForm>, carry_out: F) -> Answer<Response>
    where
        F: Future<Output = Answer<Response>> + Send + 'static,
    {
        let turn = form.map(|form| self.turn(form));
        let task = async move {
            let Some(turn) = turn else { return carry_out.await };
            let came_at = Instant::now();
            let mut answer = turn.lock().await;
            if let Some(kept) = &*answer
                && (kept.is_done || kept.at >= came_at)
            {
                return Ok(kept.again());
            }
            let response = carry_out.await.unwrap_or_else(IntoResponse::into_response);
            let is_done = has_done_something(&response);
            let (mut parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Problem::bug())?.to_bytes();
            let (status, headers, problem) = (parts.status, parts.headers, parts.extensions.remove());
            let at = Instant::now();
            let answered = answer.insert(Kept { at, is_done, problem, status, headers, body }).again();
            // It may show a secret, so it goes by itself; what was refused goes once those who wait have been answered.
            let answer = turn.clone();
            tokio::spawn(async move {
                if is_done {
                    tokio::time::sleep(KEPT).await;
                }
                answer.lock().await.take_if(|kept| kept.at == at);
            });
            Ok(answered)
        };
        to_its_end(task).await
    }

    fn turn(&self, form: SentForm) -> Sent {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is under way is locked, and stays however long it takes.
        all.retain(|_, sent| sent.try_lock().map_or(true, |answer| answer.is_some() || Arc::strong_count(sent) > 1));
        if all.len() >= KEPT_MAX {
            let at = |sent: &Sent| sent.try_lock().ok()?.as_ref().map(|kept| kept.at);
            let oldest = all.iter().filter_map(|(form, sent)| Some((at(sent)?, *form))).min_by_key(|(at, _)| *at);
            if let Some((_, oldest)) = oldest {
                all.remove(&oldest);
            }
        }
        all.entry(form).or_default().clone()
    }
}

/// Runs it in a task of its own: a browser that goes away does not stop it half-way.
///
/// # Errors
/// It panicked, which is a bug.
pub async fn to_its_end(work: impl Future<Output = Answer<Response>> + Send + 'static) -> Answer<Response> {
    tokio::spawn(work.in_current_span()).await.map_err(|_| Problem::bug())?
}

/// It leads on to where that is seen, or shows it this once.
fn has_done_something(response: &Response) -> bool {
    response.status().is_redirection()
        || response.status() == StatusCode::NO_CONTENT && response.headers().contains_key(page::REDIRECT)
        || response.extensions().get::<ShownOnce>().is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::response::Redirect;
    use futures_util::FutureExt;

    use super::*;

    async fn sends(forms: &SentForms, form: u8, done: &Arc<AtomicUsize>, answer: fn(usize) -> Response) -> String {
        let done = done.clone();
        let carry_out = async move {
            tokio::task::yield_now().await;
            Ok(answer(done.fetch_add(1, Ordering::SeqCst)))
        };
        let response = forms.once(Some(SentForm([form; 32])), carry_out).await.unwrap();
        let place = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        place.unwrap_or_else(|| response.status().to_string())
    }

    #[tokio::test]
    async fn of_two_that_are_the_same_one_is_carried_out_and_both_are_answered() {
        let (forms, done) = (SentForms::default(), Arc::default());
        let leads_on = |n: usize| Redirect::to(&format!("/campaigns/{n}")).into_response();
        let both = tokio::join!(sends(&forms, 1, &done, leads_on), sends(&forms, 1, &done, leads_on));
        assert_eq!(both, ("/campaigns/0".to_owned(), "/campaigns/0".to_owned()));
        assert_eq!(sends(&forms, 2, &done, leads_on).await, "/campaigns/1", "another form");
    }

    #[tokio::test]
    async fn what_was_refused_is_tried_again() {
        let (forms, done) = (SentForms::default(), Arc::default());
        let refused = |_| StatusCode::UNPROCESSABLE_ENTITY.into_response();
        for _ in 0..2 {
            assert!(sends(&forms, 1, &done, refused).await.starts_with("422"));
        }
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn whoever_waited_for_a_refusal_is_refused_as_well() {
        let (forms, done) = (SentForms::default(), Arc::default());
        let refused = |_| Problem::new(StatusCode::CONFLICT, "no", "It is not to be.").into_response();
        let both = tokio::join!(sends(&forms, 1, &done, refused), sends(&forms, 1, &done, refused));
        assert_eq!((both.0.as_str(), both.1.as_str()), ("409 Conflict", "409 Conflict"));
        assert_eq!(done.load(Ordering::SeqCst), 1, "it was not tried behind the back of who was told to look");
    }

    #[tokio::test]
    async fn whoever_goes_away_stops_nothing() {
        let (forms, done) = (SentForms::default(), Arc::<AtomicUsize>::default());
        let leads_on = |n: usize| Redirect::to(&format!("/campaigns/{n}")).into_response();
        assert_eq!(sends(&forms, 1, &done, leads_on).now_or_never(), None, "it went away before the answer");
        assert_eq!(sends(&forms, 1, &done, leads_on).await, "/campaigns/0");
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn one_that_is_under_way_is_known_however_many_come_meanwhile() {
        let (forms, done) = (Arc::new(SentForms::default()), Arc::<AtomicUsize>::default());
        let (release, released) = tokio::sync::watch::channel(false);
        let slow = || {
            let (forms, done, mut released) = (forms.clone(), done.clone(), released.clone());
            async move {
                let carry_out = async move {
                    released.wait_for(|released| *released).await.unwrap();
                    Ok(Redirect::to(&format!("/campaigns/{}", done.fetch_add(1, Ordering::SeqCst))).into_response())
                };
                forms.once(Some(SentForm([255; 32])), carry_out).await.unwrap().headers()["location"].clone()
            }
        };
        let first = tokio::spawn(slow());
        while forms.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        fills(&forms).await;
        let second = tokio::spawn(slow());
        release.send(true).unwrap();
        assert_eq!(first.await.unwrap(), second.await.unwrap());
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    /// More forms than are remembered.
    async fn fills(forms: &SentForms) {
        for n in 0..u32::try_from(KEPT_MAX).unwrap() + 10 {
            let mut form = [0; 32];
            form[..4].copy_from_slice(&n.to_le_bytes());
            let leads_on = async { Ok(Redirect::to("/accounts").into_response()) };
            forms.once(Some(SentForm(form)), leads_on).await.unwrap();
        }
    }

    #[tokio::test]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let forms = SentForms::default();
        fills(&forms).await;
        assert_eq!(forms.0.lock().unwrap().len(), KEPT_MAX);
    }
}
