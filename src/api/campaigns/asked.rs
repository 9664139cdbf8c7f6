//! What is asked for of a campaign, in a document or a query, read into what the store takes.

use std::fs::File;
use std::sync::Arc;

use axum::http::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::api::Shared;
use crate::api::auth::Caller;
use crate::api::extract::{Brought, Given, queried};
use crate::api::problem::{Answer, Problem};
use crate::domain::account::AccountNumber;
use crate::domain::calendar::When;
use crate::domain::campaign::cohort::MemberRow;
use crate::domain::campaign::terms::{TermsAsked, Trouble};
use crate::domain::campaign::{CampaignView, Draft, Revision, Terms};
use crate::domain::dispositions::Disposition;
use crate::domain::filter::Filter;
use crate::domain::import::Problem as RowProblem;
use crate::domain::text::{parse_name, parse_text};
use crate::import::{self, Source};
use crate::store::CHUNK_ROWS;
use crate::store::campaigns::Cohort;

/// A list within a document has at most so many accounts; a longer one comes as a file.
const ACCOUNTS_MAX: usize = 10_000;

/// One account of a list.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CampaignMember)]
#[serde(deny_unknown_fields)]
pub struct MemberAsked {
    /// The number of the account.
    #[schema(min_length = 1, max_length = 64)]
    account_number: String,
    /// Its own date, else that of the campaign.
    #[schema(example = "2099-12-01")]
    date: Option<String>,
    /// Its own reason, else that of the campaign.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// A new campaign. Of `where` and `accounts` one is given, or else a file comes in place of this document.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[schema(as = NewCampaign)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CampaignAsked {
    /// What lists show it as.
    #[schema(min_length = 1, max_length = 64, example = "Tower 1, unpaid")]
    #[param(min_length = 1, max_length = 64, required = false)]
    name: String,
    /// Selects every connected account that it matches. It is checked again when the turn of each comes.
    #[serde(rename = "where")]
    #[schema(min_length = 1, max_length = 4096)]
    #[param(ignore)]
    filter: Option<String>,
    /// The accounts themselves.
    #[schema(min_items = 1, max_items = 10_000)]
    #[param(ignore)]
    accounts: Option<Vec<MemberAsked>>,
    /// That a filter selects every account is meant.
    #[serde(default)]
    #[param(ignore)]
    everyone: bool,
    /// The date for accounts without one of their own: `2026-12-01`, `2026-12-01T09:00`, RFC 3339, or `now`, which is when
    /// the campaign starts.
    #[schema(example = "2099-12-01")]
    on: Option<String>,
    /// The IANA zone that dates are read in; each account's, unless said, else the company's.
    #[schema(example = "America/Denver")]
    zone: Option<String>,
    /// Dates in the past are meant.
    #[serde(default)]
    #[param(required = false)]
    late: bool,
    /// Why, for the accounts' logs.
    #[schema(min_length = 1, max_length = 1000)]
    #[param(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// What becomes of the connected children of its accounts that are not in it. Without it, a cohort with such children
    /// can't be started.
    #[schema(value_type = Option<Disposition>)]
    #[param(value_type = Option<Disposition>, inline)]
    children: Option<String>,
    /// At most so many disconnects a minute; without it, as fast as it goes.
    #[schema(minimum = 1, example = 600)]
    #[param(minimum = 1)]
    per_minute: Option<u32>,
    /// After so many of its first accounts it pauses by itself, for somebody to look at them.
    #[schema(minimum = 1)]
    #[param(minimum = 1)]
    canary: Option<u32>,
    /// When it may disconnect: days and hours, and a zone if it is not the company's. The setting `campaign_window`, unless
    /// said; `always` for no limit.
    #[schema(example = "mon-fri 08:00-18:00 America/Denver")]
    window: Option<String>,
    /// It pauses by itself when more than this share of what it tried has failed, in percent. The setting
    /// `campaign_pause_percent`, unless said.
    #[schema(minimum = 1, maximum = 100)]
    #[param(minimum = 1, maximum = 100)]
    pause_percent: Option<u32>,
}

/// A new cohort for a campaign. Of `where` and `accounts` one is given, or else a file comes in place of this document.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[schema(as = NewCohort)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CohortAsked {
    /// Selects every connected account that it matches.
    #[serde(rename = "where")]
    #[schema(min_length = 1, max_length = 4096)]
    #[param(ignore)]
    filter: Option<String>,
    /// The accounts themselves.
    #[schema(min_items = 1, max_items = 10_000)]
    #[param(ignore)]
    accounts: Option<Vec<MemberAsked>>,
    /// That a filter selects every account is meant.
    #[serde(default)]
    #[param(ignore)]
    everyone: bool,
    /// The date for accounts without one of their own, or `now`; the campaign's as it was, unless said.
    #[schema(example = "2099-12-01")]
    on: Option<String>,
    /// The IANA zone that dates are read in, or `none` for each account's; the campaign's as it was, unless said.
    #[schema(example = "America/Denver")]
    zone: Option<String>,
    /// Dates in the past are meant.
    #[serde(default)]
    #[param(required = false)]
    late: bool,
}

/// What to change of a campaign: what is not given stays, and `null` takes it away.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CampaignChange)]
#[serde(deny_unknown_fields)]
pub struct ChangeAsked {
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 64, example = "Tower 1, unpaid")]
    name: Given<String>,
    /// Why, for the accounts' logs.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    reason: Given<String>,
    /// What becomes of the connected children of its accounts that are not in it; null for nothing that is decided.
    #[serde(default)]
    #[schema(value_type = Option<Disposition>)]
    children: Given<String>,
    /// At most so many disconnects a minute; null for as fast as it goes.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, example = 300)]
    per_minute: Given<u32>,
    /// After so many of its first accounts it pauses by itself; null for not at all.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    canary: Given<u32>,
    /// When it may disconnect; null for always.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "mon-fri 08:00-18:00 America/Denver")]
    window: Given<String>,
    /// The share of failures at which it pauses by itself, in percent; null for what the setting says.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    pause_percent: Given<u32>,
}

/// What stands in a document, or else in the query with a file.
pub fn unpacked<T: DeserializeOwned>(brought: Brought<T>, uri: &Uri) -> Answer<(T, Option<Arc<File>>)> {
    match brought {
        Brought::File(file) => Ok((queried(uri)?, Some(file))),
        Brought::Told(told) if uri.query().is_none_or(str::is_empty) => Ok((told, None)),
        Brought::Told(_) => Err(Problem::invalid(
            "query",
            "everything stands in the document; leave away what is behind the question mark",
        )),
    }
}

impl CampaignAsked {
    pub async fn read(self, api: &Shared, caller: &Caller, file: Option<Arc<File>>) -> Answer<(Draft, Cohort)> {
        let name = parse_name(&self.name).map_err(|error| Problem::invalid("name", error))?;
        let settings = api.store.settings().await?;
        let asked = TermsAsked {
            reason: self.reason,
            on: self.on,
            zone: self.zone,
            children: self.children,
            per_minute: self.per_minute,
            canary: self.canary,
            window: self.window,
            pause_percent: self.pause_percent,
        };
        let terms = asked.read(&settings).map_err(trouble)?;
        terms.admit_date(self.late, &settings, api.store.now().await?)?;
        let (filter, cohort) =
            Listed { filter: self.filter, accounts: self.accounts, file, everyone: self.everyone }.read().await?;
        let (everyone, late, by) = (self.everyone, self.late, caller.actor());
        Ok((Draft { name, terms, filter, everyone, late, failures_max: api.failures_max, by }, cohort))
    }
}

impl CohortAsked {
    pub async fn read(
        self,
        api: &Shared,
        caller: &Caller,
        before: CampaignView,
        file: Option<Arc<File>>,
    ) -> Answer<(Revision, Draft, Cohort)> {
        let settings = api.store.settings().await?;
        let asked = TermsAsked { on: self.on, zone: self.zone, ..TermsAsked::default() };
        let terms = asked.change(&before.terms, true, &settings).map_err(trouble)?;
        terms.admit_date(self.late, &settings, api.store.now().await?)?;
        let (filter, cohort) =
            Listed { filter: self.filter, accounts: self.accounts, file, everyone: self.everyone }.read().await?;
        let revision = Revision { of: before.revision, name: None, terms: changed(&before.terms, terms.clone()) };
        let (everyone, late, by) = (self.everyone, self.late, caller.actor());
        let draft = Draft { name: before.name, terms, filter, everyone, late, failures_max: api.failures_max, by };
        Ok((revision, draft, cohort))
    }
}

impl ChangeAsked {
    /// `None` where nothing of it is different.
    pub async fn read(self, api: &Shared, before: &CampaignView) -> Answer<Option<Revision>> {
        let name = match self.name {
            Given::Nothing => None,
            Given::Null => return Err(Problem::invalid("name", "a campaign has a name; leave it out to keep it")),
            Given::Value(name) => Some(parse_name(&name).map_err(|error| Problem::invalid("name", error))?),
        };
        let settings = api.store.settings().await?;
        let null = (self.reason == Given::Null, self.children == Given::Null);
        let asked = TermsAsked {
            reason: given(self.reason, None),
            children: given(self.children, None),
            per_minute: counted("per_minute", self.per_minute)?,
            canary: counted("canary", self.canary)?,
            window: given(self.window, Some("always".into())),
            pause_percent: given(self.pause_percent, Some(settings.campaign_pause_percent.into())),
            ..TermsAsked::default()
        };
        let mut terms = asked.change(&before.terms, false, &settings).map_err(trouble)?;
        if null.0 {
            terms.reason = None;
        }
        if null.1 {
            terms.children = None;
        }
        let revision = Revision {
            of: before.revision,
            name: name.filter(|name| *name != before.name),
            terms: changed(&before.terms, terms),
        };
        Ok((revision.name.is_some() || revision.terms.is_some()).then_some(revision))
    }
}

/// What takes a term away, where it is null.
fn given<T>(field: Given<T>, null: Option<T>) -> Option<T> {
    match field {
        Given::Nothing => None,
        Given::Null => null,
        Given::Value(value) => Some(value),
    }
}

/// Asked for as 0, a number is taken away: by null alone, so that a slip does not let everything go at once.
fn counted(name: &str, field: Given<u32>) -> Answer<Option<u32>> {
    if field == Given::Value(0) {
        return Err(Problem::invalid(name, "it is at least 1; null takes it away"));
    }
    Ok(given(field, Some(0)))
}

fn changed(before: &Terms, terms: Terms) -> Option<Terms> {
    (terms != *before).then_some(terms)
}

/// For the fields that bear the name of their term.
pub fn trouble((field, error): Trouble) -> Problem {
    Problem::invalid(field, error)
}

pub fn read_filter(text: &str) -> Answer<Filter> {
    Filter::parse(text).map_err(|error| Problem::invalid("where", error))
}

/// What may say who is in a cohort.
struct Listed {
    filter: Option<String>,
    accounts: Option<Vec<MemberAsked>>,
    file: Option<Arc<File>>,
    everyone: bool,
}

impl Listed {
    async fn read(self) -> Answer<(Option<Filter>, Cohort)> {
        match self {
            Self { everyone: true, filter: None, .. } => {
                Err(Problem::invalid("everyone", "it is said of a filter that selects every account; leave it away"))
            }
            Self { filter: None, accounts: None, file: Some(file), .. } => {
                Ok((None, Cohort::Rows(import::member_rows(Source::new("the file", file)).await?)))
            }
            Self { file: Some(_), .. } => {
                Err(Problem::invalid("where", "the file says which accounts; leave this away, or send a JSON document"))
            }
            Self { filter: Some(text), accounts: None, .. } => {
                let filter = read_filter(&text)?;
                Ok((Some(filter.clone()), Cohort::Filter(filter)))
            }
            Self { filter: None, accounts: Some(accounts), .. } => Ok((None, Cohort::Rows(rows(accounts)?))),
            Self { filter: Some(_), accounts: Some(_), .. } => {
                Err(Problem::invalid("accounts", "there is a filter already; give either `where` or `accounts`"))
            }
            Self { filter: None, accounts: None, file: None, .. } => {
                let detail = "nothing says which accounts; give a filter (`where`), a list (`accounts`), or send a file as \
                              text/csv";
                Err(Problem::invalid("accounts", detail))
            }
        }
    }
}

/// The rows of a list within a document, as if they came from a file: their lines are their places, from 1.
fn rows(accounts: Vec<MemberAsked>) -> Answer<crate::store::Rows<MemberRow>> {
    if accounts.len() > ACCOUNTS_MAX {
        let detail = format!("it has {} accounts, more than {ACCOUNTS_MAX}; send them as text/csv", accounts.len());
        return Err(Problem::invalid("accounts", detail));
    }
    let mut read = Vec::with_capacity(accounts.len());
    for (line, account) in (1..).zip(accounts) {
        match account.read(line) {
            Ok(row) => read.push(Ok(row)),
            Err(problems) => read.extend(problems.into_iter().map(Err)),
        }
    }
    let chunks = read.len().div_ceil(CHUNK_ROWS).max(1);
    let (sender, receiver) = mpsc::channel(chunks);
    let mut rest = read.into_iter().peekable();
    while rest.peek().is_some() {
        // There is room for all of them.
        let _ = sender.try_send(rest.by_ref().take(CHUNK_ROWS).collect());
    }
    Ok(receiver)
}

impl MemberAsked {
    fn read(self, line: u64) -> Result<MemberRow, Vec<RowProblem>> {
        let account = AccountNumber::parse(&self.account_number);
        let on = self.date.as_deref().map(When::parse).transpose();
        let reason = self.reason.as_deref().map(parse_text).transpose();
        match (account, on, reason) {
            (Ok(account), Ok(on), Ok(reason)) => Ok(MemberRow { line, account, on, reason }),
            (account, on, reason) => {
                let errors = [("account_number", account.err()), ("date", on.err()), ("reason", reason.err())];
                let problem = |(column, error): (_, Option<String>)| Some(RowProblem::new(line, column, error?));
                Err(errors.into_iter().filter_map(problem).collect())
            }
        }
    }
}
