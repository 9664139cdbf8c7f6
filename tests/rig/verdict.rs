//! Whether everything that was answered came true. What is in the database is looked at when all is mended and drained.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::load::{Ask, CampaignLife, Life};
use crate::support::database::TestDatabase;

/// What must be nothing at all, by what it is.
#[derive(Debug, Default)]
pub struct Verdict {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub stuck: Vec<String>,
    pub wrong: Vec<String>,
}

struct Event {
    id: i64,
    state: String,
    due_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

/// What the database has, by account.
struct Facts {
    events: HashMap<String, Vec<Event>>,
    /// When it was disconnected.
    disconnected: HashMap<String, DateTime<Utc>>,
    /// Account and reference of each.
    debits: HashSet<(String, String)>,
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

impl Facts {
    async fn of(db: &TestDatabase) -> Self {
        let rows = |texts: Vec<String>| texts.into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let mut events: HashMap<String, Vec<Event>> = HashMap::new();
        let sql = "select json_build_object('account', a.number, 'id', e.id, 'state', e.state, 'due', e.due_at, \
                                            'ended', e.ended_at)::text \
                     from disconnect_events e join accounts a on a.id = e.account_id order by e.id";
        for row in rows(db.texts(sql).await) {
            events.entry(row["account"].as_str().unwrap().to_owned()).or_default().push(Event {
                id: row["id"].as_i64().unwrap(),
                state: row["state"].as_str().unwrap().to_owned(),
                due_at: time(&row["due"]).unwrap(),
                ended_at: time(&row["ended"]),
            });
        }
        let sql = "select json_build_object('account', number, 'at', disconnected_at)::text from accounts \
                    where disconnected_at is not null";
        let disconnected = rows(db.texts(sql).await)
            .map(|row| (row["account"].as_str().unwrap().to_owned(), time(&row["at"]).unwrap()))
            .collect();
        let sql = "select json_build_object('account', a.number, 'reference', d.reference)::text \
                     from debits d join accounts a on a.id = d.account_id";
        let debits = rows(db.texts(sql).await)
            .map(|row| (row["account"].as_str().unwrap().to_owned(), row["reference"].as_str().unwrap().to_owned()))
            .collect();
        Self { events, disconnected, debits }
    }

    fn events_of(&self, account: &str) -> &[Event] {
        self.events.get(account).map_or(&[], Vec::as_slice)
    }
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        [&self.lost, &self.doubled, &self.stuck, &self.wrong].iter().all(|found| found.is_empty())
    }

    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        [("lost", &self.lost), ("doubled", &self.doubled), ("stuck", &self.stuck), ("wrong", &self.wrong)]
            .map(|(what, found)| (what, found.len()))
            .into()
    }

    pub async fn of(db: &TestDatabase, lives: &[Life], campaigns: &[CampaignLife]) -> Self {
        let facts = Facts::of(db).await;
        let mut verdict = Self::default();
        for (account, events) in &facts.events {
            verdict.of_events(account, events, &facts);
        }
        for life in lives {
            verdict.of_life(life, &facts);
        }
        for campaign in campaigns {
            verdict.of_campaign(campaign, &facts);
        }
        verdict
    }

    /// What holds for every account, whatever was asked.
    fn of_events(&mut self, account: &str, events: &[Event], facts: &Facts) {
        for event in events {
            match event.state.as_str() {
                "scheduled" | "queued" => self.stuck.push(format!("{account}: event {} is {}", event.id, event.state)),
                // Nothing here fails because of itself.
                "failed" => self.lost.push(format!("{account}: event {} failed", event.id)),
                "completed" if event.ended_at.is_none_or(|ended_at| ended_at < event.due_at) => {
                    self.wrong.push(format!("{account}: event {} ended before it was due", event.id));
                }
                _ => {}
            }
        }
        let completed = events.iter().filter(|event| event.state == "completed").count();
        if completed > 1 {
            self.doubled.push(format!("{account}: {completed} of its events are completed"));
        }
        if completed == 0 && facts.disconnected.contains_key(account) {
            self.wrong.push(format!("{account}: it is disconnected by no event"));
        }
    }

    fn of_life(&mut self, life: &Life, facts: &Facts) {
        let account = &life.account;
        let events = facts.events_of(account);
        let is_disconnected = facts.disconnected.contains_key(account);
        let told = || format!("{:?}", life.asked);
        for (reference, answer) in &life.debits {
            let is_there = facts.debits.contains(&(account.clone(), reference.clone()));
            if answer.done().is_some() && !is_there {
                self.lost.push(format!("{account}: the debit {reference} was taken and is not there"));
            }
            if !answer.may_be_done() && is_there {
                self.wrong.push(format!("{account}: the debit {reference} was refused and is there"));
            }
        }
        let begins = |ask: Ask| matches!(ask, Ask::Now | Ask::Schedule);
        for asked in &life.asked {
            let Some(id) = asked.answer.done().and_then(|event| event["id"].as_i64()) else { continue };
            let Some(event) = events.iter().find(|event| event.id == id) else {
                self.lost.push(format!("{account}: event {id} was answered and is not there"));
                continue;
            };
            if asked.ask == Ask::Cancel && event.state != "cancelled" {
                self.wrong.push(format!("{account}: event {id} was cancelled and is {}: {}", event.state, told()));
            }
        }
        let is_certain = !life.asked.iter().any(|asked| asked.answer.is_unknown());
        let may_be = |wanted: &dyn Fn(Ask) -> bool| {
            life.asked.iter().any(|asked| wanted(asked.ask) && asked.answer.may_be_done())
        };
        if is_disconnected && !may_be(&begins) {
            self.wrong.push(format!("{account}: nobody asked for its disconnect: {}", told()));
        }
        let confirmed = life.asked.iter().any(|asked| begins(asked.ask) && asked.answer.done().is_some());
        if confirmed && !is_disconnected && !may_be(&|ask| ask == Ask::Cancel) {
            self.lost.push(format!("{account}: its disconnect was answered and did not come: {}", told()));
        }
        // What the last answer says, where there is no doubt about any.
        let last = life.asked.iter().rev().find(|asked| asked.answer.done().is_some());
        if let (true, Some(last)) = (is_certain, last) {
            match last.ask {
                Ask::Cancel if is_disconnected => {
                    self.wrong.push(format!("{account}: it was cancelled last, and is disconnected: {}", told()));
                }
                Ask::Cancel => {}
                _ if !is_disconnected => {
                    self.lost.push(format!("{account}: it was to be disconnected in the end: {}", told()));
                }
                Ask::Schedule | Ask::Reschedule => {
                    let due_at = events.iter().find(|event| event.state == "completed").map(|event| event.due_at);
                    let told_at = last.answer.done().and_then(|event| time(&event["due_at"]));
                    if due_at != told_at {
                        self.wrong.push(format!("{account}: it was due at {due_at:?}: {}", told()));
                    }
                }
                Ask::Now => {}
            }
        }
        for asked in &life.asked {
            if asked.ask == Ask::Cancel
                && asked.answer.is_refused_as("event_ended")
                && is_certain
                && !events.iter().any(|event| event.state == "completed" || event.state == "cancelled")
            {
                self.wrong.push(format!("{account}: nothing of it has ended: {}", told()));
            }
        }
    }

    fn of_campaign(&mut self, life: &CampaignLife, facts: &Facts) {
        let (id, commands) = (life.id, &life.commands);
        let disconnected = life.accounts.iter().filter_map(|account| facts.disconnected.get(account));
        let disconnected: Vec<DateTime<Utc>> = disconnected.copied().collect();
        let may_be = |command: &str| commands.iter().any(|one| one.command == command && one.answer.may_be_done());
        let is_done = |command: &str| commands.iter().find(|one| one.command == command && one.answer.done().is_some());
        if !may_be("start") && !disconnected.is_empty() {
            self.wrong.push(format!("campaign {id} was not started, and disconnected {}", disconnected.len()));
        }
        if is_done("start").is_some() && !may_be("abort") && disconnected.len() != life.accounts.len() {
            let (done, all) = (disconnected.len(), life.accounts.len());
            self.lost.push(format!("campaign {id} disconnected {done} of {all}: {commands:?}"));
        }
        // When a pause or an abort answers, nothing more of it begins.
        for (n, one) in commands.iter().enumerate() {
            if !["pause", "abort"].contains(&one.command) || one.answer.done().is_none() {
                continue;
            }
            let next = commands[n + 1..].iter().find(|next| next.answer.may_be_done()).map(|next| next.begun_at);
            let until = next.filter(|_| one.command == "pause").unwrap_or(DateTime::<Utc>::MAX_UTC);
            let meanwhile = disconnected.iter().filter(|at| **at > one.answered_at && **at < until).count();
            if meanwhile > 0 {
                self.wrong.push(format!("campaign {id}: {meanwhile} were disconnected after its {}", one.command));
            }
        }
    }
}
