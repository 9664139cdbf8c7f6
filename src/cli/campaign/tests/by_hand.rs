//! The commands on a database of their own, as a person and as a program uses them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clap::Parser;
use serde_json::Value;
use tokio::time::Instant;

use super::super::super::owner;
use super::super::super::screen::{Ask, Screen};
use super::super::super::session::{Exit, RunOwn, Session};
use super::super::super::{Cli, Command, Verb, run};
use crate::clock::Clock;
use crate::domain::actor::{Actor, Source};
use crate::domain::event::EventId;
use crate::queue::memory::MemoryQueue;
use crate::store::Installations as _;
use crate::store::sqlite::SqliteStore;

struct Idle;

#[async_trait]
impl RunOwn for Idle {
    async fn run_own(&self, _: EventId, _: Instant) -> bool {
        false
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader who has gone away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Three accounts; 1002 is the child of 1001.
pub(super) struct Installation {
    folder: tempfile::TempDir,
    pub(super) store: Arc<SqliteStore>,
}

/// What a command said.
pub(super) struct Said {
    exit: Exit,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Said {
    pub(super) fn exits(self, exit: Exit) -> Self {
        assert_eq!(self.exit, exit, "{}{}", self.stdout, self.stderr);
        self
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl Installation {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("x.db").display());
        let store = Arc::new(SqliteStore::open(&url, Clock::system()).await.unwrap());
        store.migrate().await.unwrap();
        let it = Self { folder, store };
        let accounts = it.file(
            "accounts.csv",
            "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n\
             1001,Ada,Active,,USD,,,a@example.com,,\n\
             1002,Bo,Active,1001,USD,,,,,late\n\
             1003,Cy,Active,,USD,,,c@example.com,,late\n",
        );
        it.says(&["import", "accounts", &accounts]).await.exits(Exit::Done);
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(super) async fn says(&self, words: &[&str]) -> Said {
        self.answered(words, None).await
    }

    /// Where somebody is there to answer.
    pub(super) async fn answered(&self, words: &[&str], answer: Option<&'static str>) -> Said {
        self.answered_as("clerk", words, answer, None).await
    }

    /// In somebody's name, on a terminal of this width.
    pub(super) async fn answered_as(
        &self,
        who: &str,
        words: &[&str],
        answer: Option<&'static str>,
        width: Option<u16>,
    ) -> Said {
        let (stdout, stderr) = (Heard::default(), Heard::default());
        let ask = answer.map(|answer| {
            let asked = stderr.clone();
            Arc::new(move |question: &str| {
                writeln!(asked.clone(), "{question}")?;
                Ok(answer.to_owned())
            }) as Arc<Ask>
        });
        let json = words.contains(&"--json");
        let mut screen = Screen::of(json, stdout.clone(), stderr.clone(), ask);
        screen.width = width;
        let exit = self.run(who, words, screen).await;
        Said { exit, stdout: stdout.take(), stderr: stderr.take() }
    }

    async fn run(&self, who: &str, words: &[&str], screen: Screen) -> Exit {
        let session = Session {
            console_url: String::new(),
            store: self.store.clone(),
            screen: Arc::new(screen),
            actor: Actor::new(who, Source::Cli),
            failures_max: 8,
            run_own: Arc::new(Idle),
            trace: None,
            probes: Vec::new(),
            queue: Arc::new(|_| Ok(Arc::new(MemoryQueue::new()))),
        };
        run(verb(words), &session).await
    }

    pub(super) async fn made(&self) -> String {
        let list = self.file("list.csv", "account_number\n1001\n1003\n9999\n");
        let made = self.says(&["--json", "campaign", "create", "--name", "n", "--accounts", &list]).await;
        made.exits(Exit::Done).json()["id"].to_string()
    }
}

fn verb(words: &[&str]) -> Verb {
    match Cli::try_parse_from(std::iter::once(&"disconnectd").chain(words)).unwrap().command {
        Command::Verb(verb) => verb,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_list_makes_nothing_and_all_of_its_problems_are_in_a_file() {
    let it = Installation::new().await;
    let bad = format!("1003,2126-12-01\n{}", "1003,someday\n".repeat(29));
    let list = it.file("list.csv", &format!("account_number,date\n{bad}1003,2020-01-01\n"));
    let file = it.file("problems.csv", "somebody else's");
    let create = ["campaign", "create", "--name", "n", "--accounts", &list, "--problems", &file];

    let said = it.says(&create).await.exits(Exit::Failed);
    assert_eq!(said.stdout, "");
    assert_eq!(said.stderr.matches("line ").count(), 20, "{}", said.stderr);
    assert!(said.stderr.contains("line 3, date: `someday` is not a date"), "{}", said.stderr);
    let problems = it.path("problems-2.csv");
    assert!(
        said.stderr.contains(&format!("no campaign was made: 30 problems in {list}; {} lists", problems.display()))
    );
    let mut rows = csv::Reader::from_path(&problems).unwrap();
    assert_eq!(rows.headers().unwrap(), ["line", "column", "message"].as_slice());
    assert_eq!(rows.records().count(), 30);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody else's");

    let said = it.says(&[&["--json"], &create[..]].concat()).await.exits(Exit::Failed);
    assert_eq!(said.json()["problems"].as_array().unwrap().len(), 30);
    assert_eq!(said.json()["problems_file"], it.path("problems-3.csv").display().to_string());
    assert_eq!(it.says(&["--json", "campaign", "list"]).await.json()["items"], serde_json::json!([]));
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_taken_only_where_somebody_says_so() {
    let it = Installation::new().await;
    let create = ["campaign", "create", "--name", "n", "--where", "balance >= 0"];
    let said = it.says(&create).await.exits(Exit::Refused);
    assert!(said.stderr.contains("every one of the 3 connected accounts; if all"), "{}", said.stderr);
    let said = it.answered(&create, Some("n")).await.exits(Exit::Refused);
    assert!(said.stderr.contains("every one of the 3 connected accounts. Take them all?"), "{}", said.stderr);
    let said = it.answered(&create, Some("y")).await.exits(Exit::Done);
    assert!(said.stdout.starts_with("Campaign 1 (n) is made: 3 accounts."), "{}", said.stdout);
    it.says(&[&create[..], &["--everyone"]].concat()).await.exits(Exit::Done);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_shows_what_it_would_do_and_asks() {
    let it = Installation::new().await;
    let id = it.made().await;
    let start = ["campaign", "start", &id];
    let said = it.answered(&start, Some("y")).await.exits(Exit::Refused);
    assert!(!said.stderr.contains("Start campaign"), "what can't be is not asked about: {}", said.stderr);
    assert!(said.stderr.contains("the children of 1 of its accounts: 1002 (Bo)"), "{}", said.stderr);

    it.says(&["campaign", "change", &id, "--children", "keep", "--canary", "1"]).await.exits(Exit::Done);
    let said = it.says(&["campaign", "change", &id, "--canary", "1"]).await.exits(Exit::Done);
    assert!(said.stdout.starts_with("Campaign 1 (n) is so already, and nothing was changed"), "{}", said.stdout);
    it.says(&["campaign", "change", &id, "--canary", "0"]).await.exits(Exit::Done);
    it.says(&["campaign", "change", &id, "--on", "2126-12-01"]).await.exits(Exit::Usage);
    it.says(&["campaign", "watch", &id]).await.exits(Exit::UnderWay);
    it.says(&["campaign", "start", &id, "--digest", "old"]).await.exits(Exit::Refused);
    let said = it.answered(&["campaign", "start", &id, "--digest", "old"], Some("y")).await.exits(Exit::Refused);
    assert!(!said.stderr.contains("Start campaign"), "it is not what was seen: {}", said.stderr);

    let said = it.answered(&start, Some("n")).await.exits(Exit::Refused);
    assert!(said.stderr.contains("Start campaign 1 (n): disconnect 2 accounts? [y/N]"), "{}", said.stderr);
    let said = it.answered(&start, Some("y")).await.exits(Exit::Done);
    assert!(said.stdout.contains("is running: 3 accounts, 1 left out, 2 to come"), "{}", said.stdout);
    assert!(said.stderr.contains("nothing is serving this database"), "{}", said.stderr);

    let said = it.says(&["campaign", "watch", &id, "--wait", "0"]).await.exits(Exit::UnderWay);
    assert!(said.stdout.ends_with("running: 1 left out, 2 to come\n"), "{}", said.stdout);
    let said = it.says(&["campaign", "pause", &id, "--reason", "calls"]).await.exits(Exit::Done);
    assert!(said.stdout.contains("0 disconnected, 0 taken back from the queue, 2 left"), "{}", said.stdout);
    let said = it.says(&["--json", "campaign", "watch", &id]).await.exits(Exit::UnderWay);
    assert_eq!(said.json()["pause_note"], "calls", "one line, one document");
    assert!(said.stderr.contains("it is paused (calls); `disconnectd campaign resume 1`"), "{}", said.stderr);

    let said = it.answered(&["campaign", "abort", &id], Some("n")).await.exits(Exit::Refused);
    assert!(said.stderr.contains("2 of its accounts will not begin. [y/N]"), "{}", said.stderr);
    let said = it.answered(&["campaign", "abort", &id], Some("y")).await.exits(Exit::Done);
    assert!(said.stdout.contains("is aborted: 0 disconnected, 2 will not begin"), "{}", said.stdout);
    it.says(&["campaign", "watch", &id]).await.exits(Exit::Failed);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_and_blockers_go_where_they_are_asked_to() {
    let it = Installation::new().await;
    let id = it.made().await;
    let said = it.says(&["campaign", "dry-run", &id, "--blockers", "-"]).await.exits(Exit::Done);
    assert!(
        said.stdout.starts_with("account_number,kind,effect,detail\n1001,undecided_family,stops,"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("\n9999,unknown_account,leaves_out,"), "{}", said.stdout);
    assert!(said.stderr.contains("What campaign 1 (n) would do"), "{}", said.stderr);
    it.says(&["--json", "campaign", "dry-run", &id, "--blockers", "-"]).await.exits(Exit::Usage);

    let said = it.says(&["campaign", "report", &id]).await.exits(Exit::Done);
    assert_eq!(said.stdout.lines().count(), 4, "{}", said.stdout);
    assert!(said.stderr.contains("campaign 1 has not started: 3 accounts are still to come"), "{}", said.stderr);
    let said = it.says(&["--json", "campaign", "report", &id]).await.exits(Exit::Done);
    assert_eq!(said.json()["rows"].as_array().unwrap().len(), 3);
    it.says(&["--json", "campaign", "report", &id, "--format", "csv"]).await.exits(Exit::Usage);

    let file = it.file("report.csv", "an older one, which is longer than the new one by no means");
    let said = it.says(&["--json", "campaign", "report", &id, "--format", "csv", "--output", &file]).await;
    assert_eq!(said.exits(Exit::Done).json()["rows"], 3);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("account_number,outcome,"));
    for words in [&["campaign", "report", &id][..], &["campaign", "dry-run", &id, "--blockers", "-"]] {
        assert_eq!(
            it.run("clerk", words, Screen::of(false, Gone, Gone, None)).await,
            Exit::Done,
            "nobody reads it any more"
        );
    }
    let nowhere = Path::new("nowhere/at/all.csv").display().to_string();
    it.says(&["campaign", "report", &id, "--output", &nowhere]).await.exits(Exit::Failed);
    it.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_there_is_no_approval() {
    let it = Installation::new().await;
    for (words, is_refused) in [
        (&["campaign", "approve", "1"][..], true),
        (&["campaign", "template", "approve", "1"], true),
        (&["campaign", "start", "1"], false),
        (&["campaign", "template", "unapprove", "1"], false),
    ] {
        let actor = owner::actor(&*it.store, None, &verb(words)).await;
        assert_eq!(actor.as_ref().is_err_and(|error| error.code() == "approval_needs_token"), is_refused, "{words:?}");
        assert_eq!(actor.map_err(|error| error.exit()).err(), is_refused.then_some(Exit::Refused));
    }
    it.store.close().await;
}
