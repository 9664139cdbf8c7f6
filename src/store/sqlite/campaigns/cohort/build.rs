//! The members, in a temporary table: from a list or by a filter, with their dates and their children.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection};

use super::super::super::failure::{failure, unreadable};
use super::super::super::rows::{at, expect_rows, json};
use super::super::super::settings::settings;
use super::super::members::read;
use super::super::selection::{self, Account};
use super::Built;
use crate::domain::account::AccountNumber;
use crate::domain::calendar::{When, parse_zone};
use crate::domain::campaign::cohort::{BadRows, COLUMNS, MemberDate, MemberRow};
use crate::domain::campaign::dry_run::hex;
use crate::domain::campaign::{CampaignId, Draft, Terms};
use crate::domain::dispositions::Disposition;
use crate::domain::filter::Filter;
use crate::domain::import::Problem;
use crate::domain::refusal::Refusal;
use crate::domain::settings::Settings;
use crate::store::campaigns::{Cohort, MEMBERS_MAX, Making};
use crate::store::{Rows, StoreError, StoreResult};

/// How many members are read together.
const TOGETHER: i64 = 2_000;

/// What the members are made by, beside where they come from.
pub struct Asked<'a> {
    pub terms: &'a Terms,
    pub late: bool,
    pub everyone: bool,
}

impl<'a> Asked<'a> {
    pub fn of(draft: &'a Draft) -> Self {
        Self { terms: &draft.terms, late: draft.late, everyone: draft.everyone }
    }
}

pub enum Building {
    Built(Built),
    BadRows(BadRows),
}

/// Makes the members of `cohort` in this connection's temporary table.
pub async fn build(
    connection: &mut SqliteConnection,
    asked: &Asked<'_>,
    cohort: Cohort,
    making: &Making<'_>,
    now: DateTime<Utc>,
) -> StoreResult<Building> {
    let settings = settings(connection).await?;
    let mut members = Members::of(connection, asked, settings, now).await?;
    match cohort {
        Cohort::Rows(rows) => {
            let bad = members.take_rows(rows, making).await?;
            if bad.total() > 0 {
                return Ok(Building::BadRows(bad));
            }
            if members.accounts == 0 {
                return Err(Refusal::EmptyCohort { why: "the list has no accounts".into() }.into());
            }
        }
        Cohort::Filter(filter) => members.select(&filter, making).await?,
    }
    members.end().await.map(Building::Built)
}

/// The members that a campaign has already, with their children taken in or out as the terms say.
pub async fn rebuild(connection: &mut SqliteConnection, campaign: CampaignId, terms: &Terms) -> StoreResult<Built> {
    let settings = settings(connection).await?;
    let asked = Asked { terms, late: true, everyone: true };
    let mut members = Members::of(connection, &asked, settings, DateTime::UNIX_EPOCH).await?;
    let copied = sqlx::query(
        "/* cohort: without children */ insert into temp.members
                (number, account_id, due_at, planned_for, zone, reason)
         select account_number, account_id, due_at, planned_for, zone, reason
           from campaign_members where campaign_id = ?1 and parent_id is null order by position",
    )
    .bind(campaign.0)
    .execute(&mut *members.connection)
    .await
    .map_err(failure)?;
    members.accounts = copied.rows_affected();
    members.end().await
}

struct Members<'a> {
    connection: &'a mut SqliteConnection,
    asked: &'a Asked<'a>,
    settings: Settings,
    now: DateTime<Utc>,
    accounts: u64,
}

/// Number, account, due at, planned for, zone, reason, line.
type NewMember = (AccountNumber, Option<i64>, Option<String>, Option<String>, Option<String>, Option<String>, u64);

impl<'a> Members<'a> {
    async fn of(
        connection: &'a mut SqliteConnection,
        asked: &'a Asked<'a>,
        settings: Settings,
        now: DateTime<Utc>,
    ) -> StoreResult<Self> {
        sqlx::raw_sql(
            "/* cohort: members */
             create temp table members (
                 position integer primary key, number text not null unique, account_id integer, parent_id integer,
                 due_at text, planned_for text, zone text, reason text, line integer
             );",
        )
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        Ok(Self { connection, asked, settings, now, accounts: 0 })
    }

    /// Takes the rows as they come. What is wrong with them is all counted; then nothing is made.
    async fn take_rows(&mut self, mut rows: Rows<MemberRow>, making: &Making<'_>) -> StoreResult<BadRows> {
        let mut bad = BadRows::default();
        let mut last_bad_line = None;
        while let Some(chunk) = rows.recv().await {
            bad.rows += chunk.len() as u64;
            let mut good = Vec::with_capacity(chunk.len());
            for row in chunk {
                match row {
                    Ok(row) => good.push(row),
                    Err(problem) => {
                        // A line with two problems is one row.
                        if last_bad_line.replace(problem.line) == Some(problem.line) {
                            bad.rows -= 1;
                        }
                        add(&mut bad, problem, making);
                    }
                }
            }
            self.take_chunk(good, &mut bad, making).await?;
            (making.progress)(self.accounts);
        }
        bad.problems.sort_by_key(|problem| problem.line);
        Ok(bad)
    }

    async fn take_chunk(&mut self, chunk: Vec<MemberRow>, bad: &mut BadRows, making: &Making<'_>) -> StoreResult<()> {
        let numbers: Vec<&AccountNumber> = chunk.iter().map(|row| &row.account).collect();
        let known: String = sqlx::query_scalar(
            "/* cohort: known */
             select json_group_array(json_array(asked.value, a.id, a.zone, m.line))
               from json_each(?1) as asked
               left join accounts a on a.number = asked.value
               left join temp.members m on m.number = asked.value",
        )
        .bind(json(&numbers)?)
        .fetch_one(&mut *self.connection)
        .await
        .map_err(failure)?;
        let known: Vec<KnownRow> = read(&known)?;
        let (mut accounts, mut lines) = (HashMap::with_capacity(known.len()), HashMap::with_capacity(known.len()));
        for (number, account, zone, line) in known {
            lines.extend(line.map(|line| (number.clone(), line)));
            accounts.extend(account.map(|account| (number, (account, zone))));
        }
        let mut members = Vec::with_capacity(chunk.len());
        for row in chunk {
            if let Some(first) = lines.get(row.account.as_str()) {
                add(bad, Problem::duplicate(row.line, COLUMNS[0], row.account.as_str(), *first), making);
                continue;
            }
            lines.insert(row.account.to_string(), row.line);
            let (account, zone) = match accounts.remove(row.account.as_str()) {
                None => (None, None),
                Some((account, zone)) => (Some(account), own_zone(zone.as_deref())?),
            };
            match self.date(row.on, zone) {
                Ok(date) => members.push(member(row.account, account, date, row.reason, row.line)),
                Err(why) => add(bad, Problem::new(row.line, COLUMNS[1], why), making),
            }
        }
        self.add(&members).await
    }

    /// Every connected account that the filter matches, by its id.
    async fn select(&mut self, filter: &Filter, making: &Making<'_>) -> StoreResult<()> {
        // One view of the database; what is written meanwhile is temporary.
        sqlx::query("/* cohort: begin */ begin").execute(&mut *self.connection).await.map_err(failure)?;
        let (mut last, mut connected) = (0, 0_i64);
        loop {
            let accounts = selection::page(self.connection, last, &self.settings, self.now).await?;
            let Some(end) = accounts.last() else { break };
            last = end.id;
            connected += i64::try_from(accounts.len()).unwrap_or(i64::MAX);
            let mut members = Vec::new();
            for account in accounts {
                members.extend(self.selected(account, filter)?);
            }
            self.add(&members).await?;
            (making.progress)(self.accounts);
        }
        sqlx::query("/* cohort: end */ commit").execute(&mut *self.connection).await.map_err(failure)?;
        if self.accounts == 0 {
            let why = match connected {
                0 => "there is no connected account".into(),
                connected => format!("the filter selects none of the {connected} connected accounts"),
            };
            return Err(Refusal::EmptyCohort { why }.into());
        }
        if self.accounts == connected.unsigned_abs() && !self.asked.everyone {
            return Err(Refusal::EveryoneSelected { accounts: connected }.into());
        }
        Ok(())
    }

    fn selected(&self, account: Account, filter: &Filter) -> StoreResult<Option<NewMember>> {
        if !filter.matches(&account.candidate()) {
            return Ok(None);
        }
        let date = self.date(None, account.own_zone).map_err(|why| self.past(account.own_zone, why))?;
        Ok(Some(member(account.number, Some(account.id), date, None, 0)))
    }

    fn date(&self, on: Option<When>, zone: Option<Tz>) -> Result<MemberDate, String> {
        MemberDate::of(on, self.asked.terms, self.asked.late, zone, &self.settings, self.now)
    }

    /// The date of all that have none of their own has passed: one sentence, and not one for each.
    fn past(&self, zone: Option<Tz>, why: String) -> StoreError {
        let terms = self.asked.terms;
        let Some(Ok(when)) = terms.on.as_deref().map(When::parse) else { return StoreError::Rejected(why) };
        let zone = terms.on_zone.or(zone).unwrap_or(self.settings.company_zone);
        let (due_at, _) = when.resolve(zone, self.settings.cutoff_time, self.now);
        Refusal::PastDate { due_at, now: self.now }.into()
    }

    async fn add(&mut self, members: &[NewMember]) -> StoreResult<()> {
        self.accounts += members.len() as u64;
        limited(self.accounts)?;
        let written = sqlx::query(
            "/* cohort: add */ insert into temp.members
                    (number, account_id, due_at, planned_for, zone, reason, line)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
               from json_each(?1) order by key",
        )
        .bind(json(members)?)
        .execute(&mut *self.connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, members.len(), "cohort: add")
    }

    async fn end(mut self) -> StoreResult<Built> {
        if self.asked.terms.children == Some(Disposition::Disconnect) {
            self.take_children().await?;
        }
        let fingerprint = fingerprint(self.connection).await?;
        Ok(Built { accounts: i64::try_from(self.accounts).unwrap_or(i64::MAX), fingerprint })
    }

    /// The connected children of the members, generation by generation, each with its parent's date and reason.
    async fn take_children(&mut self) -> StoreResult<()> {
        let mut tx = self.connection.begin().await.map_err(failure)?;
        let mut generation_begins = 0_i64;
        loop {
            let last: i64 =
                sqlx::query_scalar("/* cohort: last */ select coalesce(max(position), 0) from temp.members")
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(failure)?;
            // A member that is disconnected already will be left out, so nothing becomes of its children.
            let taken = sqlx::query(
                "/* cohort: children */ insert into temp.members
                        (number, account_id, parent_id, due_at, planned_for, zone, reason)
                 select c.number, c.id, p.id, m.due_at, m.planned_for, m.zone, m.reason
                   from temp.members m
                  cross join accounts p on p.id = m.account_id and p.disconnected_at is null
                  cross join accounts c on c.parent_id = p.id and c.disconnected_at is null
                  where m.position > ?1 and m.position <= ?2
                    and not exists (select 1 from temp.members o where o.number = c.number)
                  order by m.position, c.number",
            )
            .bind(generation_begins)
            .bind(last)
            .execute(&mut *tx)
            .await
            .map_err(failure)?
            .rows_affected();
            self.accounts += taken;
            limited(self.accounts)?;
            if taken == 0 {
                break;
            }
            generation_begins = last;
        }
        tx.commit().await.map_err(failure)
    }
}

/// A number of the list: its account and that one's zone, and the line that it stood in before.
type KnownRow = (String, Option<i64>, Option<String>, Option<u64>);

fn add(bad: &mut BadRows, problem: Problem, making: &Making<'_>) {
    (making.problem)(&problem);
    bad.add(problem);
}

fn limited(accounts: u64) -> StoreResult<()> {
    if accounts > MEMBERS_MAX {
        return Err(Refusal::CohortTooLarge { max: MEMBERS_MAX }.into());
    }
    Ok(())
}

fn own_zone(zone: Option<&str>) -> StoreResult<Option<Tz>> {
    zone.map(parse_zone).transpose().map_err(|error| unreadable(&error))
}

fn member(
    number: AccountNumber,
    account: Option<i64>,
    date: MemberDate,
    reason: Option<String>,
    line: u64,
) -> NewMember {
    let MemberDate { due_at, planned } = date;
    (number, account, due_at.map(at), planned.planned_for, planned.zone, reason, line)
}

/// What tells this cohort from another: a hash over its members in order.
async fn fingerprint(connection: &mut SqliteConnection) -> StoreResult<String> {
    let mut hash = Sha256::new();
    let mut last = 0;
    loop {
        let rows: String = sqlx::query_scalar(
            "/* cohort: fingerprint */
             select json_group_array(json_array(position, number, due_at, reason))
               from (select * from temp.members where position > ?1 order by position limit ?2)",
        )
        .bind(last)
        .bind(TOGETHER)
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
        let mut rows: Vec<(i64, String, Option<String>, Option<String>)> = read(&rows)?;
        rows.sort_unstable_by_key(|row| row.0);
        let Some(end) = rows.last() else { break };
        last = end.0;
        for (_, number, due_at, reason) in &rows {
            for part in [Some(number), due_at.as_ref(), reason.as_ref()] {
                // A missing text is another than an empty one.
                hash.update([u8::from(part.is_some())]);
                hash.update(part.map_or("", String::as_str).as_bytes());
                hash.update([0]);
            }
        }
    }
    Ok(hex(&hash.finalize()))
}
