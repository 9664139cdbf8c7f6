//! What people and programs ask meanwhile, over the API: disconnects now and at a date, changes of plan, debits, and
//! campaigns that are paused, resumed and aborted. Everything asked is written down with what was answered.
//!
//! An account is one actor's, who asks one thing after the other: so what must have become of it is known from the
//! answers, but for what was asked while no answer came.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use disconnectd::clock::Clock;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::Log;
use crate::http::Request;
use crate::support::database::PROBE_TOKEN;

/// How often something without an answer is asked again, with the same key.
const REPEATS: usize = 40;

const REPEAT_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done(Value),
    /// By a rule, of this name.
    Refused(String),
    /// None, or one that says that nobody knows.
    Unknown(String),
}

impl Answer {
    pub fn done(&self) -> Option<&Value> {
        match self {
            Self::Done(value) => Some(value),
            _ => None,
        }
    }

    pub fn is_refused_as(&self, code: &str) -> bool {
        matches!(self, Self::Refused(known) if known == code)
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// It is done, or may be.
    pub fn may_be_done(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    fn of(answered: std::io::Result<crate::http::Answer>) -> Self {
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => return Self::Unknown(error.to_string()),
        };
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            return Self::Unknown(format!("{} without a document", answer.status));
        };
        let code = body["type"].as_str().and_then(|name| name.rsplit(':').next()).unwrap_or_default().to_owned();
        match answer.status {
            200..300 => Self::Done(in_short(&body)),
            // The first call with this key may come to anything yet.
            409 if code == "idempotency_key_in_use" => Self::Unknown(code),
            400..500 => Self::Refused(code),
            _ => Self::Unknown(format!("{} {code}", answer.status)),
        }
    }
}

/// What is looked at of an event, or of a campaign.
fn in_short(body: &Value) -> Value {
    let known = ["id", "state", "outcome", "due_at"].into_iter().filter(|name| !body[name].is_null());
    known.map(|name| (name.to_owned(), body[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Now,
    Schedule,
    Reschedule,
    Cancel,
}

#[derive(Debug)]
pub struct Asked {
    pub ask: Ask,
    pub answer: Answer,
}

/// All that was asked about one account.
#[derive(Debug)]
pub struct Life {
    pub account: String,
    pub asked: Vec<Asked>,
    /// By their references.
    pub debits: Vec<(String, Answer)>,
}

/// All that was asked about one campaign.
#[derive(Debug)]
pub struct CampaignLife {
    pub id: i64,
    pub accounts: Vec<String>,
    pub commands: Vec<Commanded>,
}

#[derive(Debug)]
pub struct Commanded {
    pub command: &'static str,
    pub begun_at: DateTime<Utc>,
    pub answered_at: DateTime<Utc>,
    pub answer: Answer,
}

/// Somebody who asks.
pub struct Actor<'a> {
    name: String,
    apis: Vec<SocketAddr>,
    random: StdRng,
    log: &'a Log,
    next_key: u32,
    pub counts: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub done: u64,
    pub refused: u64,
    pub unknown: u64,
    pub repeats: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.repeats += other.repeats;
    }
}

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

impl<'a> Actor<'a> {
    pub fn new(name: String, apis: Vec<SocketAddr>, seed: u64, log: &'a Log) -> Self {
        Self { name, apis, random: StdRng::seed_from_u64(seed), log, next_key: 0, counts: Counts::default() }
    }

    fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(20..most_ms)));
    }

    /// Asks until it is answered, or (one time in three) once.
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        self.next_key += 1;
        let key = format!("{}-{}", self.name, self.next_key);
        let repeats = if self.random.random_ratio(1, 3) { 0 } else { REPEATS };
        let mut answer = Answer::Unknown(String::new());
        for n in 0..=repeats {
            let api = self.apis[self.random.random_range(0..self.apis.len())];
            let request = Request::new(api, method, path).token(PROBE_TOKEN).header("Idempotency-Key", &key);
            answer = Answer::of(request.body(kind, body).try_answer());
            if !answer.is_unknown() {
                break;
            }
            self.counts.repeats += u64::from(n < repeats);
            std::thread::sleep(REPEAT_PAUSE);
        }
        match &answer {
            Answer::Done(_) => self.counts.done += 1,
            Answer::Refused(_) => self.counts.refused += 1,
            Answer::Unknown(_) => self.counts.unknown += 1,
        }
        self.log.write(&json!({ "ask": path, "key": key, "body": body, "answer": format!("{answer:?}") }));
        answer
    }

    fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, "application/json", &body.to_string())
    }

    fn some_time(&mut self) -> Value {
        let at = now() + TimeDelta::milliseconds(self.random.random_range(500..8_000));
        json!({ "on": at.to_rfc3339_opts(SecondsFormat::Micros, true) })
    }

    fn disconnect(&mut self, account: &str, is_now: bool) -> Asked {
        let path = format!("/api/v1/accounts/{account}/disconnect");
        if is_now {
            return Asked { ask: Ask::Now, answer: self.post(&path, &json!({})) };
        }
        let body = self.some_time();
        Asked { ask: Ask::Schedule, answer: self.post(&path, &body) }
    }

    fn debit(&mut self, account: &str, n: usize) -> (String, Answer) {
        let reference = format!("{}-{n}", self.name);
        let row = format!("{account},{reference},Late charge,7.31,0.44,2026-11-02");
        let file = format!("account_number,reference,description,amount,tax,charged_on\n{row}\n");
        let answer = self.ask("POST", "/api/v1/imports/debits", "text/csv", &file);
        (reference, answer)
    }

    /// What comes of one account, until there is nothing more to ask.
    pub fn lives(&mut self, account: &str) -> Life {
        let mut life = Life { account: account.to_owned(), asked: Vec::new(), debits: Vec::new() };
        if self.random.random_ratio(1, 3) {
            life.debits.push(self.debit(account, 0));
        }
        let is_now = self.random.random_ratio(1, 3);
        life.asked.push(self.disconnect(account, is_now));
        for n in 1..=self.random.random_range(0..4) {
            self.pause(1_200);
            if self.random.random_ratio(1, 4) {
                life.debits.push(self.debit(account, n));
                continue;
            }
            let event = life.asked.iter().rev().find_map(|asked| asked.answer.done()?["id"].as_i64());
            let next = match (event, self.random.random_range(0..4)) {
                (None, _) | (_, 0) => {
                    let is_now = self.random.random_bool(0.5);
                    self.disconnect(account, is_now)
                }
                (Some(event), 1) => {
                    let body = self.some_time();
                    let answer = self.post(&format!("/api/v1/events/{event}/reschedule"), &body);
                    Asked { ask: Ask::Reschedule, answer }
                }
                (Some(event), _) => {
                    let answer = self.post(&format!("/api/v1/events/{event}/cancel"), &json!({}));
                    Asked { ask: Ask::Cancel, answer }
                }
            };
            life.asked.push(next);
        }
        self.pause(300);
        life
    }

    fn commands(&mut self, campaign: i64, command: &'static str) -> Commanded {
        let begun_at = now();
        let answer = self.post(&format!("/api/v1/campaigns/{campaign}/{command}"), &json!({}));
        Commanded { command, begun_at, answered_at: now(), answer }
    }

    /// What comes of one campaign. Nothing, where nobody knows whether it was made: it does nothing by itself.
    pub fn runs(&mut self, accounts: &[String], until: Instant) -> Option<CampaignLife> {
        let members: Vec<_> = accounts.iter().map(|number| json!({ "account_number": number })).collect();
        let pace = self.random.random_bool(0.5).then_some(600);
        let body = json!({ "name": self.name, "accounts": members, "children": "keep", "per_minute": pace });
        let id = self.post("/api/v1/campaigns", &body).done()?["id"].as_i64()?;
        let mut life = CampaignLife { id, accounts: accounts.to_vec(), commands: Vec::new() };
        life.commands.push(self.commands(id, "start"));
        for _ in 0..self.random.random_range(0..3) {
            self.pause(1_500);
            life.commands.push(self.commands(id, "pause"));
            self.pause(1_500);
            life.commands.push(self.commands(id, "resume"));
        }
        if self.random.random_ratio(1, 4) {
            self.pause(1_500);
            life.commands.push(self.commands(id, "abort"));
        }
        if Instant::now() < until {
            self.pause(1_000);
        }
        Some(life)
    }

    /// Whatever is paused goes on; what was not started stays so.
    pub fn lets_it_end(&mut self, life: &mut CampaignLife) {
        let last = self.commands(life.id, "resume");
        life.commands.push(last);
    }
}
