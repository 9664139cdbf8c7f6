//! Every way through the protocol of one event, with so many crashes, losses, copies, failures and changes of plan. A step
//! is what is atomic in the program: a transaction, a message sent or taken, an end of a process.

use std::collections::HashMap;

use disconnectd::domain::event::State;

use super::row::Row;

/// What the protocol rests on. Each is tried without: a model that finds nothing wrong then, would find nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A worker holds the row from reading it to the commit.
    Locks,
    /// A worker runs what is queued, and nothing else.
    AdmitsQueuedAlone,
    /// A failure is written only while its attempt is queued.
    FencesFailures,
    /// What is queued and was not heard of is claimed again.
    ClaimsAgain,
    /// A new date makes what is in the queue worthless.
    UnqueuesWhenRescheduled,
}

/// All of them, or all but one.
#[derive(Debug, Clone, Copy)]
struct Rules {
    without: Option<Rule>,
}

impl Rules {
    fn has(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

/// More claims than that happen only where messages are lost again and again.
const ATTEMPTS_MAX: u8 = 3;

/// So many messages of one event wait at once, beside those that the workers have.
const MESSAGES_MAX: usize = 2;

const RETURNS: &str = "the broker returns a message";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheduler {
    Idle,
    /// It has claimed, and not published.
    Claimed(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Worker {
    Idle,
    Took {
        message: u8,
    },
    /// In its transaction, decided from what it read.
    Decides {
        message: u8,
        read: Row,
    },
    /// Rolled back, its failure not written.
    Failed {
        message: u8,
        attempt: u8,
    },
    /// Committed, not acknowledged.
    Committed {
        message: u8,
    },
}

/// What may happen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    crashes: u8,
    losses: u8,
    copies: u8,
    failures: u8,
    changes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    row: Row,
    /// In the queue, ascending: any may be taken next.
    waiting: Vec<u8>,
    schedulers: [Scheduler; 2],
    workers: [Worker; 2],
    /// How often the account was disconnected.
    effects: u8,
    /// It was, before its date.
    is_early: bool,
    left: Left,
}

type Step = (&'static str, World);

impl World {
    fn begin() -> Self {
        Self {
            row: Row::new(false),
            waiting: Vec::new(),
            schedulers: [Scheduler::Idle; 2],
            workers: [Worker::Idle; 2],
            effects: 0,
            is_early: false,
            left: Left { crashes: 1, losses: 1, copies: 1, failures: 2, changes: 2 },
        }
    }

    /// Which of two equals does something makes no difference.
    fn settled(mut self) -> Self {
        self.waiting.sort_unstable();
        self.schedulers.sort_unstable();
        self.workers.sort_unstable();
        self
    }

    fn with(&self, name: &'static str, change: impl FnOnce(&mut Self)) -> Step {
        let mut next = self.clone();
        change(&mut next);
        (name, next.settled())
    }

    /// Nobody else reads or writes the row now.
    fn is_free(&self, rules: Rules) -> bool {
        !rules.has(Rule::Locks) || !self.workers.iter().any(|worker| matches!(worker, Worker::Decides { .. }))
    }

    /// Everything that can happen next.
    fn steps(&self, rules: Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.row.state.is_open() && !self.row.is_ripe {
            steps.push(self.with("time passes", |world| world.row.ripen()));
        }
        self.of_schedulers(rules, &mut steps);
        self.of_workers(rules, &mut steps);
        self.of_people(rules, &mut steps);
        for (place, message) in self.waiting.iter().enumerate() {
            if self.left.losses > 0 {
                steps.push(self.with("the broker loses a message", |world| {
                    world.waiting.remove(place);
                    world.left.losses -= 1;
                }));
            }
            if self.left.copies > 0 && self.waiting.len() < MESSAGES_MAX {
                steps.push(self.with("the broker doubles a message", |world| {
                    world.waiting.push(*message);
                    world.left.copies -= 1;
                }));
            }
        }
        steps
    }

    fn of_schedulers(&self, rules: Rules, steps: &mut Vec<Step>) {
        for (n, scheduler) in self.schedulers.iter().enumerate() {
            match *scheduler {
                Scheduler::Idle => {
                    let mut row = self.row;
                    let may = rules.has(Rule::ClaimsAgain) || row.state == State::Scheduled;
                    if may
                        && row.attempt < ATTEMPTS_MAX
                        && self.is_free(rules)
                        && let Some(attempt) = row.claim()
                    {
                        steps.push(self.with("a scheduler claims", |world| {
                            world.row = row;
                            world.schedulers[n] = Scheduler::Claimed(attempt);
                        }));
                    }
                }
                Scheduler::Claimed(attempt) => {
                    if self.waiting.len() < MESSAGES_MAX {
                        steps.push(self.with("a scheduler publishes", |world| {
                            world.waiting.push(attempt);
                            world.schedulers[n] = Scheduler::Idle;
                        }));
                    }
                    if self.is_free(rules) {
                        steps.push(self.with(RETURNS, |world| {
                            world.row.release(attempt);
                            world.schedulers[n] = Scheduler::Idle;
                        }));
                    }
                    if self.left.crashes > 0 {
                        steps.push(self.with("a scheduler crashes", |world| {
                            world.schedulers[n] = Scheduler::Idle;
                            world.left.crashes -= 1;
                        }));
                    }
                }
            }
        }
    }

    fn of_workers(&self, rules: Rules, steps: &mut Vec<Step>) {
        for (n, worker) in self.workers.iter().enumerate() {
            let message = match *worker {
                Worker::Idle => {
                    for (place, message) in self.waiting.iter().enumerate() {
                        steps.push(self.with("a worker takes a message", |world| {
                            world.waiting.remove(place);
                            world.workers[n] = Worker::Took { message: *message };
                        }));
                    }
                    continue;
                }
                Worker::Took { message } => {
                    if self.is_free(rules) {
                        steps.push(self.with("a worker reads", |world| {
                            world.workers[n] = Worker::Decides { message, read: world.row };
                        }));
                    }
                    message
                }
                Worker::Decides { message, read } => {
                    steps.push(self.with("a worker commits", |world| world.commits(n, message, read, rules)));
                    if self.left.failures > 0 && read.state == State::Queued {
                        steps.push(self.with("an execution fails", |world| {
                            world.workers[n] = Worker::Failed { message, attempt: read.attempt };
                            world.left.failures -= 1;
                        }));
                    }
                    message
                }
                Worker::Failed { message, attempt } => {
                    if self.is_free(rules) {
                        steps.push(self.with("a worker writes a failure", |world| {
                            world.writes_failure(attempt, rules);
                            world.workers[n] = Worker::Committed { message };
                        }));
                    }
                    message
                }
                Worker::Committed { message } => {
                    steps.push(self.with("a worker acknowledges", |world| world.workers[n] = Worker::Idle));
                    message
                }
            };
            if self.left.crashes > 0 && self.waiting.len() < MESSAGES_MAX {
                steps.push(self.with("a worker crashes", |world| {
                    world.workers[n] = Worker::Idle;
                    world.waiting.push(message);
                    world.left.crashes -= 1;
                }));
            }
        }
    }

    fn commits(&mut self, worker: usize, message: u8, read: Row, rules: Rules) {
        let is_admitted = read.state == State::Queued || !rules.has(Rule::AdmitsQueuedAlone);
        if is_admitted {
            // Where nothing was locked, it is written over what others have written meanwhile.
            self.row.state = State::Completed;
            self.effects += 1;
            self.is_early |= !self.row.is_due;
        }
        self.workers[worker] = Worker::Committed { message };
    }

    fn writes_failure(&mut self, attempt: u8, rules: Rules) {
        if rules.has(Rule::FencesFailures) {
            self.row.fail(attempt);
        } else {
            // As if it were its own.
            let mut row = Row { state: State::Queued, ..self.row };
            row.fail(row.attempt);
            self.row = row;
        }
    }

    fn of_people(&self, rules: Rules, steps: &mut Vec<Step>) {
        if self.left.changes == 0 || !self.is_free(rules) {
            return;
        }
        let mut asks = |name, change: &dyn Fn(&mut Row) -> bool| {
            let mut row = self.row;
            if change(&mut row) {
                steps.push(self.with(name, |world| {
                    world.row = row;
                    world.left.changes -= 1;
                }));
            }
        };
        asks("somebody cancels", &Row::cancel);
        asks("somebody says another date", &|row| {
            let before = row.state;
            let may = row.reschedule(false);
            if may && !rules.has(Rule::UnqueuesWhenRescheduled) {
                row.state = before;
            }
            may
        });
        asks("somebody brings it forward", &Row::bring_forward);
        asks("somebody lets it be tried again", &Row::retry);
    }

    /// What must never be.
    fn fault(&self) -> Option<&'static str> {
        match (self.row.state, self.effects) {
            (_, 2..) => Some("it took effect twice"),
            (State::Completed, 0) => Some("it is completed, and nothing was done"),
            (State::Completed, _) if self.is_early => Some("it took effect before its date"),
            (State::Completed, _) => None,
            (State::Cancelled, 1) => Some("it was cancelled, and took effect"),
            (_, 1) => Some("it took effect, and is not completed"),
            _ => None,
        }
    }

    /// The same where nothing breaks any more and nobody asks anything. What was claimed as often as this model allows is
    /// claimed again.
    fn calmed(mut self) -> Self {
        self.left = Left { crashes: 0, losses: 0, copies: 0, failures: 0, changes: 0 };
        self.row.attempt = self.row.attempt.min(1);
        self
    }

    fn is_over(&self) -> bool {
        let is_idle = self.schedulers == [Scheduler::Idle; 2] && self.workers == [Worker::Idle; 2];
        is_idle && !self.row.state.is_open() && self.waiting.is_empty()
    }

    /// What happens next in a calm world: whoever can do something does it, and time passes once nobody can.
    fn calm_step(&self, rules: Rules) -> Option<Self> {
        let (waits, does): (Vec<_>, Vec<_>) =
            self.steps(rules).into_iter().partition(|(name, _)| *name == "time passes");
        let next = does.into_iter().find(|(name, _)| *name != RETURNS).or_else(|| waits.into_iter().next());
        next.map(|(_, next)| next.calmed())
    }
}

/// Whether all comes to an end, once nothing breaks any more. Most worlds come to the same.
#[derive(Default)]
struct Ends(HashMap<World, bool>);

impl Ends {
    fn comes(&mut self, world: &World, rules: Rules) -> bool {
        let mut passed = Vec::new();
        let mut world = world.clone().calmed();
        let ends = loop {
            if let Some(known) = self.0.get(&world) {
                break *known;
            }
            // One that comes again goes in a circle.
            self.0.insert(world.clone(), false);
            passed.push(world.clone());
            match world.calm_step(rules) {
                Some(next) => world = next,
                None => break world.is_over(),
            }
        };
        for world in passed {
            self.0.insert(world, ends);
        }
        ends
    }
}

/// What is wrong, and the way to it.
#[derive(Debug)]
struct Found {
    fault: &'static str,
    way: Vec<&'static str>,
}

/// All worlds that can come to be, and the first that must not.
fn explored(rules: Rules) -> (usize, Option<Found>) {
    let begin = World::begin();
    let mut known: HashMap<World, usize> = HashMap::from([(begin.clone(), 0)]);
    let mut ways = vec![(begin, 0, "")];
    let mut ends = Ends::default();
    let mut at = 0;
    while at < ways.len() {
        let world = ways[at].0.clone();
        let fault = world.fault().or_else(|| (!ends.comes(&world, rules)).then_some("it never ends"));
        if let Some(fault) = fault {
            let mut way = Vec::new();
            let mut from = at;
            while from != 0 {
                way.insert(0, ways[from].2);
                from = ways[from].1;
            }
            return (ways.len(), Some(Found { fault, way }));
        }
        for (name, next) in world.steps(rules) {
            if !known.contains_key(&next) {
                known.insert(next.clone(), ways.len());
                ways.push((next, at, name));
            }
        }
        at += 1;
    }
    (ways.len(), None)
}

#[test]
fn every_way_ends_once_as_it_was_told_and_not_before_its_date() {
    let (worlds, found) = explored(Rules { without: None });
    assert!(found.is_none(), "{found:#?}");
    assert!(worlds > 100_000, "only {worlds}: that is not all that can happen");
}

#[test]
fn without_any_one_of_its_rules_the_protocol_breaks() {
    for (rule, fault) in [
        (Rule::Locks, "it took effect before its date"),
        (Rule::AdmitsQueuedAlone, "it took effect before its date"),
        (Rule::FencesFailures, "it took effect, and is not completed"),
        (Rule::ClaimsAgain, "it never ends"),
        (Rule::UnqueuesWhenRescheduled, "it took effect before its date"),
    ] {
        let found =
            explored(Rules { without: Some(rule) }).1.unwrap_or_else(|| panic!("nothing is wrong without {rule:?}"));
        assert_eq!(found.fault, fault, "without {rule:?}: {}", found.way.join(", "));
    }
}
