//! A campaign that has not begun is changed: its name, its terms, and where it is said anew, its accounts.

use axum::extract::{Path, State};
use axum::response::Response;

use super::filled::{Errors, Filled, date_and_time};
use super::new::{self, Changed, Shown};
use super::{CampaignView, id_of, told, which};
use crate::api::problem::Answer;
use crate::console::form::Form;
use crate::console::gate::{Ours, Visitor};
use crate::console::reader::Reader;
use crate::console::{Shared, words};
use crate::domain::campaign::{Draft, Revision};
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_name;
use crate::store::StoreError;
use crate::store::campaigns::{Made, Making};

impl Changed {
    fn of(campaign: &CampaignView, reader: Reader) -> Self {
        let from = campaign.filter.as_ref().map_or("from a list".into(), |filter| format!("what matched {filter}"));
        Self {
            id: campaign.id,
            accounts: format!("{}, {from}", told::accounts(campaign.counts.accounts, reader)),
            seen: campaign.revision.to_string(),
            kept_date: campaign.terms.on.clone().filter(|on| date_and_time(on).is_none()),
        }
    }
}

/// One that may be changed still.
async fn found(console: &Shared, id: &str) -> Answer<CampaignView> {
    let campaign = console.store.campaign(id_of(id)?).await.map_err(words::problem)?;
    campaign.revise().map_err(|refusal| words::problem(refusal.into()))?;
    Ok(campaign)
}

pub async fn ask(State(console): State<Shared>, visitor: Visitor, Path(id): Path<String>) -> Answer<Response> {
    let campaign = found(&console, &id).await?;
    let change = Some(Changed::of(&campaign, visitor.asked.reader));
    new::show(&console, &visitor, Shown { filled: Filled::as_it_is(&campaign), change, ..Shown::default() }).await
}

pub async fn make(
    State(console): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
    Ours(form): Ours,
) -> Answer<Response> {
    let (campaign, filled) = (found(&console, &id).await?, Filled::of(&form));
    let mut change = Changed::of(&campaign, visitor.asked.reader);
    if form.get("step") == Some("pick") {
        // What it was when the form was made is what is compared with in the end.
        change.seen = form.exactly("seen").to_owned();
        return new::show(&console, &visitor, new::with_picked(filled, &form, Some(change))).await;
    }
    if let Some(again) = new::not_added(&form) {
        change.seen = form.exactly("seen").to_owned();
        return new::show(&console, &visitor, Shown { filled, change: Some(change), ..again }).await;
    }
    // Sent again it would take the other's change back: it is refused until the page is loaded anew.
    change.seen = form.exactly("seen").to_owned();
    let made = changed(&console, &visitor, &campaign, &filled, &form).await?;
    new::answered(&console, &visitor, &form, made, "change", Shown { filled, change: Some(change), ..Shown::default() })
        .await
}

/// All of it or nothing.
async fn changed(
    console: &Shared,
    visitor: &Visitor,
    before: &CampaignView,
    filled: &Filled,
    form: &Form,
) -> Answer<Result<Made, Errors>> {
    let settings = console.store.settings().await?;
    let name = match parse_name(&filled.name) {
        Ok(name) => name,
        Err(error) => return Ok(Err(Errors::at("name", error))),
    };
    let has_cohort = which::is_said(filled, form);
    let asked = filled.terms_of(before);
    let terms = match asked.and_then(|asked| asked.instead_of(&before.terms, has_cohort, &settings)) {
        Ok(terms) => terms,
        Err((field, error)) => return Ok(Err(Errors::at(field, words::capital(&error)))),
    };
    let cohort = if has_cohort {
        if let Err(refusal) = terms.admit_date(filled.late, &settings, console.store.now().await?) {
            return Ok(Err((&refusal).into()));
        }
        let (filter, cohort) = match which::cohort(filled, form).await {
            Ok(cohort) => cohort,
            Err(errors) => return Ok(Err(errors)),
        };
        let draft = Draft {
            name: name.clone(),
            terms: terms.clone(),
            filter,
            everyone: filled.everyone,
            late: filled.late,
            failures_max: console.failures_max,
            by: visitor.actor(),
        };
        Some((draft, cohort))
    } else {
        None
    };
    let revision = Revision {
        // What the form does not say is no revision that there is.
        of: form.get("seen").and_then(|seen| seen.parse().ok()).unwrap_or_default(),
        name: (name != before.name).then_some(name),
        terms: (terms != before.terms).then_some(terms),
    };
    if revision.of != before.revision {
        return Ok(Err((&Refusal::CampaignChanged { campaign: before.id }).into()));
    }
    if revision.name.is_none() && revision.terms.is_none() && cohort.is_none() {
        return Ok(Err(Errors::at("form", "Nothing is different from what it is already.")));
    }
    let changed = console.store.change_campaign(before.id, &revision, cohort, &visitor.actor(), Making::QUIET).await;
    match changed {
        Ok(made) => Ok(Ok(made)),
        Err(StoreError::Refused(refusal)) => Ok(Err((&refusal).into())),
        Err(error) => Err(words::problem(error)),
    }
}
