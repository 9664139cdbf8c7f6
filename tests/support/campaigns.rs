//! Campaigns as tests tell of them: made, started, run until nothing more happens, looked at.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::calendar::When;
use disconnectd::domain::campaign::cohort::{BadRows, Blocker, MemberRow};
use disconnectd::domain::campaign::dry_run::DryRun;
use disconnectd::domain::campaign::report::{Reconciliation, Reconciling, ReportRow};
use disconnectd::domain::campaign::{CampaignId, CampaignView, Command, Counts, Draft, Revision, State, Terms};
use disconnectd::domain::dispositions::Disposition;
use disconnectd::domain::event::{EventId, Order};
use disconnectd::domain::filter::Filter;
use disconnectd::domain::import::Problem;
use disconnectd::domain::retry::{FailedAttempt, Verdict};
use disconnectd::domain::settings::SettingKey;
use disconnectd::store::campaigns::{Claimed, Cohort, Commanded, Made, Making, Upkeep};
use disconnectd::store::{Rows, Store, StoreError, StoreResult};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::SOON;
use super::database::TestDatabase;
use super::rows::{Row, channel, file, number};
use super::scenario::{FAILURES_MAX, REDISPATCH, clerk, disconnect};

/// More in flight than any of these tests has.
pub const ROOM: u32 = 5_000;

/// Somebody else than the clerk.
pub fn boss() -> Actor {
    Actor::new("boss", Source::Api)
}

/// At once, at full speed, children kept, paused by itself by more than half of failures.
pub fn terms() -> Terms {
    Terms {
        reason: Some("the tower is taken down".into()),
        children: Some(Disposition::Keep),
        pause_percent: 50,
        ..Terms::default()
    }
}

/// A list's campaign, on [`terms`].
pub fn draft(name: &str) -> Draft {
    Draft {
        name: name.into(),
        terms: terms(),
        filter: None,
        everyone: false,
        late: false,
        failures_max: FAILURES_MAX,
        by: clerk(),
    }
}

pub fn draft_on(name: &str, terms: Terms) -> Draft {
    Draft { terms, ..draft(name) }
}

/// The campaign of a filter, and its cohort.
pub fn filtered(name: &str, text: &str) -> (Draft, Cohort) {
    let filter = Filter::parse(text).unwrap();
    (Draft { filter: Some(filter.clone()), ..draft(name) }, Cohort::Filter(filter))
}

/// A row of a list.
#[derive(Debug, Clone)]
pub struct Member(MemberRow);

pub fn member(account: impl AsRef<str>) -> Member {
    Member(MemberRow { line: 0, account: number(account.as_ref()), on: None, reason: None })
}

impl Member {
    pub fn on(mut self, when: &str) -> Self {
        self.0.on = Some(When::parse(when).unwrap());
        self
    }

    pub fn because(mut self, reason: &str) -> Self {
        self.0.reason = Some(reason.into());
        self
    }
}

impl Row for Member {
    type Parsed = MemberRow;
    fn at_line(self, line: u64) -> MemberRow {
        MemberRow { line, ..self.0 }
    }
}

/// A list of account numbers, under a header in line 1.
pub fn list<T: AsRef<str>>(numbers: impl IntoIterator<Item = T>) -> Cohort {
    members(numbers.into_iter().map(member))
}

pub fn members(rows: impl IntoIterator<Item = Member>) -> Cohort {
    Cohort::Rows(file(rows))
}

/// A list whose lines were read or could not be.
pub fn lines(rows: Vec<Result<MemberRow, Problem>>) -> Cohort {
    let rows: Rows<MemberRow> = channel(rows);
    Cohort::Rows(rows)
}

/// `PREFIX-01` and so on, in the order of their names.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    let width = count.to_string().len();
    (1..=count).map(|n| format!("{prefix}-{n:0width$}")).collect()
}

/// All chunks of what a verb sends, in order.
pub async fn gather<T>(
    verb: impl Future<Output = StoreResult<()>>,
    mut chunks: mpsc::Receiver<Vec<T>>,
) -> StoreResult<Vec<T>> {
    let collect = async {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            assert!(!chunk.is_empty());
            all.extend(chunk);
        }
        all
    };
    let (sent, all) = tokio::join!(verb, collect);
    sent.map(|()| all)
}

/// As a scheduler claims: again, where the database was busy.
pub async fn claim_of(store: &dyn Store, limit: u32, in_flight_max: u32) -> Claimed {
    let deadline = Instant::now() + SOON;
    loop {
        match store.claim_campaigns(limit, in_flight_max, REDISPATCH).await {
            Ok(claimed) => return claimed,
            Err(StoreError::Conflict(error)) if !error.contains("deadlock") && Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

impl TestDatabase {
    /// A campaign over these accounts, on [`terms`].
    pub async fn drafted<T: AsRef<str>>(&self, numbers: impl IntoIterator<Item = T>) -> CampaignId {
        self.made(&draft("the tower"), list(numbers)).await.id
    }

    pub async fn made(&self, draft: &Draft, cohort: Cohort) -> CampaignView {
        match self.store.create_campaign(draft, cohort, Making::QUIET).await.unwrap() {
            Made::Campaign(view) => *view,
            Made::BadRows(bad) => panic!("{bad:?}"),
        }
    }

    /// What is wrong with the rows, and everything that was told about them.
    pub async fn bad_rows(&self, draft: &Draft, cohort: Cohort) -> (BadRows, Vec<Problem>) {
        let told = Mutex::new(Vec::new());
        let made = {
            let problem = |problem: &Problem| told.lock().unwrap_or_else(PoisonError::into_inner).push(problem.clone());
            let making = Making { problem: &problem, progress: &|_| {} };
            self.store.create_campaign(draft, cohort, making).await.unwrap()
        };
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        match made {
            Made::BadRows(bad) => (bad, told),
            Made::Campaign(view) => panic!("it was made: {view:?}"),
        }
    }

    pub async fn start(&self, campaign: CampaignId) -> Commanded {
        self.store.start_campaign(campaign, None, &clerk()).await.unwrap()
    }

    /// A campaign over these accounts, on [`terms`], that runs.
    pub async fn started<T: AsRef<str>>(&self, numbers: impl IntoIterator<Item = T>) -> CampaignId {
        self.started_on(terms(), numbers).await
    }

    pub async fn started_on<T: AsRef<str>>(&self, terms: Terms, numbers: impl IntoIterator<Item = T>) -> CampaignId {
        let campaign = self.made(&draft_on("the tower", terms), list(numbers)).await.id;
        self.start(campaign).await;
        campaign
    }

    pub async fn command(&self, campaign: CampaignId, command: Command) -> Commanded {
        self.store.command_campaign(campaign, &command, &boss()).await.unwrap()
    }

    pub async fn pause(&self, campaign: CampaignId) -> Commanded {
        self.command(campaign, Command::Pause { note: None }).await
    }

    pub async fn resume(&self, campaign: CampaignId) -> Commanded {
        self.command(campaign, Command::Resume).await
    }

    pub async fn abort(&self, campaign: CampaignId) -> Commanded {
        self.command(campaign, Command::Abort { note: None }).await
    }

    pub async fn campaign(&self, campaign: CampaignId) -> CampaignView {
        self.store.campaign(campaign).await.unwrap()
    }

    /// A change of nothing yet, of the campaign as it is.
    pub async fn revision(&self, campaign: CampaignId) -> Revision {
        Revision { of: self.campaign(campaign).await.revision, name: None, terms: None }
    }

    pub async fn campaign_state(&self, campaign: CampaignId) -> State {
        self.campaign(campaign).await.state
    }

    pub async fn counts(&self, campaign: CampaignId) -> Counts {
        self.campaign(campaign).await.counts
    }

    pub async fn dry_run(&self, campaign: CampaignId) -> DryRun {
        self.store.dry_run(campaign).await.unwrap()
    }

    /// All of them.
    pub async fn blockers(&self, campaign: CampaignId) -> Vec<Blocker> {
        let (sender, chunks) = mpsc::channel(2);
        gather(self.store.blockers(campaign, sender), chunks).await.unwrap()
    }

    /// All rows.
    pub async fn report(&self, campaign: CampaignId) -> Vec<ReportRow> {
        let (sender, chunks) = mpsc::channel(2);
        gather(self.store.report(campaign, sender), chunks).await.unwrap()
    }

    pub async fn reconciliation(&self, campaign: CampaignId) -> Reconciliation {
        let mut reconciling = Reconciling::default();
        self.report(campaign).await.iter().for_each(|row| reconciling.add(row));
        reconciling.end(self.campaign(campaign).await.agreed.as_ref())
    }

    /// Claims with all the room there is.
    pub async fn claim_campaigns(&self, limit: u32) -> Claimed {
        claim_of(&*self.store, limit, ROOM).await
    }

    /// What a claim takes, and what it left to say is nothing.
    pub async fn claimed(&self, limit: u32) -> Vec<Order> {
        let claimed = self.claim_campaigns(limit).await;
        assert_eq!(claimed.notes, []);
        claimed.orders
    }

    /// The accounts of orders, in the order in which the events were made.
    pub async fn accounts_of(&self, orders: &[Order]) -> Vec<String> {
        let mut events: Vec<EventId> = orders.iter().map(|order| order.event_id).collect();
        events.sort_unstable();
        let mut accounts = Vec::new();
        for event in events {
            accounts.push(self.event(event).await.account_number.as_str().to_owned());
        }
        accounts
    }

    /// Enlists, cancels, and lets templates make campaigns, until there is no more to do. Answers what was said.
    pub async fn upkeep(&self) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        let mut notes = Vec::new();
        loop {
            assert!(Instant::now() < deadline, "the upkeep never ends: {notes:?}");
            let upkeep = self.store.upkeep().await.unwrap();
            let ticked = self.store.tick(FAILURES_MAX).await.unwrap();
            if upkeep == Upkeep::default() && ticked.note.is_none() {
                return notes;
            }
            notes.extend(ticked.note);
        }
    }

    /// Does what schedulers and workers do for campaigns until nothing more happens. Answers what claims said.
    pub async fn run_campaigns(&self) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        let mut notes = Vec::new();
        loop {
            assert!(Instant::now() < deadline, "it never ends: {notes:?}");
            self.upkeep().await;
            let claimed = self.claim_campaigns(500).await;
            let is_quiet = claimed.orders.is_empty() && claimed.notes.is_empty();
            notes.extend(claimed.notes.into_iter().map(|(_, note)| note));
            disconnect(&*self.store, &claimed.orders).await.unwrap();
            if is_quiet {
                return notes;
            }
        }
    }

    /// The event of a member.
    pub async fn event_of(&self, campaign: CampaignId, account: &str) -> EventId {
        let sql = format!(
            "select event_id from campaign_members where campaign_id = {campaign} and account_number = '{account}'"
        );
        EventId(self.number(&sql).await)
    }

    /// These orders fail: for good, or to be tried again at once.
    pub async fn fail_orders(&self, orders: &[Order], verdict: Verdict) {
        let failed = |order: &Order| FailedAttempt {
            event_id: order.event_id,
            attempt: order.attempt,
            failures: 0,
            failures_max: FAILURES_MAX,
            error: "the modem is on fire".into(),
        };
        let failures: Vec<_> = orders.iter().map(|order| (failed(order), verdict)).collect();
        assert_eq!(self.store.record_failures(&failures).await.unwrap().len(), orders.len());
    }

    /// More accounts than these need an approval.
    pub async fn approval_over(&self, accounts: u32) {
        let key = SettingKey::parse("campaign_approval_over").unwrap();
        self.store.change_setting(key, &accounts.to_string()).await.unwrap();
    }

    /// Many accounts at once, around the store: `PREFIX1` and so on, in USD.
    pub async fn many_accounts(&self, prefix: impl Display, count: u32) {
        let sql = format!(
            "insert into accounts (number, name, status_id, currency) \
             with recursive counted(n) as (select 1 union all select n + 1 from counted where n < {count}) \
             select '{prefix}' || n, 'Customer ' || n, 2, 'USD' from counted"
        );
        assert_eq!(self.sql(&sql).await, u64::from(count));
    }

    /// What the rows of members, events and invoices say of a campaign, whatever was counted.
    pub async fn counted_anew(&self, campaign: CampaignId) -> Counts {
        let of = async |from: &str, condition: &str| {
            self.number(&format!("select count(*) from {from} where campaign_id = {campaign} and {condition}")).await
        };
        let members = async |condition: &str| of("campaign_members", condition).await;
        let events = async |condition: &str| of("all_disconnect_events", condition).await;
        Counts {
            accounts: members("1 = 1").await,
            waiting: members("event_id is null and left_out is null").await,
            left_out: members("left_out is not null").await,
            scheduled: events("state = 'scheduled'").await,
            queued: events("state = 'queued'").await,
            retrying: events("state in ('scheduled', 'queued') and failures > 0").await,
            completed: events("state = 'completed'").await,
            disconnected: events("outcome = 'disconnected'").await,
            already_disconnected: events("outcome = 'already_disconnected'").await,
            no_longer_eligible: events("outcome = 'no_longer_eligible'").await,
            failed: events("state = 'failed'").await,
            cancelled: events("state = 'cancelled'").await,
        }
    }

    /// Sums by currency, as `CUR minor`, in order.
    pub async fn sums(&self, amount: &str, from: &str) -> Vec<String> {
        self.texts(&format!(
            "select a.currency || ' ' || cast(sum({amount}) as bigint) from {from} \
             group by a.currency having sum({amount}) <> 0 order by a.currency"
        ))
        .await
    }

    /// The counts and totals of every campaign are what the rows say, to the last account and minor unit.
    pub async fn check_campaigns(&self) {
        for campaign in self.texts("select cast(id as text) from campaigns order by id").await {
            let campaign = CampaignId(campaign.parse().unwrap());
            let view = self.campaign(campaign).await;
            let state = view.state.as_str();
            assert_eq!(view.counts, self.counted_anew(campaign).await, "campaign {campaign}, {state}");
            let invoices = format!(
                "invoices i join all_disconnect_events e on e.id = i.event_id join accounts a on a.id = i.account_id \
                 where e.campaign_id = {campaign}"
            );
            assert_eq!(view.totals.invoices, self.number(&format!("select count(*) from {invoices}")).await);
            let shown = |sums: &[disconnectd::domain::money::Money]| -> Vec<String> {
                let sums: BTreeMap<_, _> = sums.iter().map(|sum| (sum.currency.code(), sum.minor)).collect();
                sums.iter().filter(|(_, sum)| **sum != 0).map(|(code, sum)| format!("{code} {sum}")).collect()
            };
            assert_eq!(shown(&view.totals.invoiced), self.sums("i.total", &invoices).await, "campaign {campaign}");
            let expected = format!(
                "campaign_members m join accounts a on a.id = m.account_id \
                 where m.campaign_id = {campaign} and m.event_id is not null"
            );
            assert_eq!(shown(&view.totals.expected), self.sums("m.expected", &expected).await, "campaign {campaign}");
            let released = format!(
                "select count(*) from account_log l join all_disconnect_events e on e.id = l.event_id \
                 where e.campaign_id = {campaign} and l.kind = 'address_released'"
            );
            assert_eq!(view.totals.addresses_released, self.number(&released).await, "campaign {campaign}");
        }
    }
}
