//! `campaign watch`: how a campaign goes on, until it ends.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until};

use super::super::session::{CliError, Exit, Session, UNSERVED};
use super::super::table::instant;
use super::super::values;
use super::super::wait::AWAY_MAX;
use super::show::{accounts, in_short, named, number, state_name};
use crate::domain::campaign::dry_run::sums;
use crate::domain::campaign::rate::Rate;
use crate::domain::campaign::{CampaignId, CampaignView, State};

/// Watch how a campaign goes on, until it ends
#[derive(Debug, Args)]
#[command(after_help = "\
A terminal gets a bar. Anything else gets a line for each change, at most one in a second; with --json each is what \
`campaign show` answers, on one line.

It ends with 0 when the campaign is complete and nothing of it failed, with 1 when something failed or when it was \
aborted, and with 4 when --wait is over. A campaign that waits for a person (paused, or not started) is watched on a \
terminal; anything else ends with 4.

Examples:
  disconnectd campaign watch 7
  disconnectd campaign watch 7 --wait 3600 && echo done")]
pub struct WatchArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    /// How long to watch, at most a day; until it ends, unless said
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: Option<u64>,
}

/// Nobody reads faster, and no program should ask more often.
const PAUSE: Duration = Duration::from_secs(1);

pub async fn run(args: WatchArgs, session: &Session) -> Result<Exit, CliError> {
    let deadline = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut answered = Instant::now();
    let mut face = Face::of(session);
    let mut is_unserved_told = false;
    loop {
        let looked = Instant::now();
        match session.store.campaign(args.campaign).await {
            Ok(campaign) => {
                answered = Instant::now();
                if !face.show(&campaign)? {
                    // Nobody is there to be told how it ends.
                    return Ok(Exit::Done);
                }
                let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if campaign.state.is_over() || is_over || (is_waiting(&campaign) && !face.is_for_person()) {
                    face.end();
                    return ended(&campaign, args.wait.filter(|_| is_over), session);
                }
                if campaign.state == State::Running && !is_unserved_told {
                    is_unserved_told = true;
                    if matches!(session.store.is_served().await, Ok(false)) {
                        face.note(UNSERVED);
                    }
                }
            }
            Err(error) if error.is_transient() && answered.elapsed() < AWAY_MAX => {}
            Err(error) => {
                face.end();
                return Err(error.into());
            }
        }
        let next = looked + PAUSE;
        sleep_until(deadline.map_or(next, |deadline| next.min(deadline.max(looked + SHORTEST)))).await;
    }
}

/// So that a database that is away at the end of the wait is not asked without a pause.
const SHORTEST: Duration = Duration::from_millis(50);

/// Whether it goes on only once a person has done something.
fn is_waiting(campaign: &CampaignView) -> bool {
    matches!(campaign.state, State::Paused | State::Draft | State::AwaitingApproval)
}

fn ended(campaign: &CampaignView, waited_s: Option<u64>, session: &Session) -> Result<Exit, CliError> {
    let (id, screen) = (campaign.id, &session.screen);
    // A program has had it as its last line.
    if campaign.state.is_over() && !screen.json {
        screen.print(&summary(campaign))?;
    }
    Ok(match campaign.state {
        State::Completed if campaign.counts.failed == 0 => Exit::Done,
        State::Completed => {
            screen.error(&format!(
                "{} of campaign {id} failed; `disconnectd campaign report {id}` says why, `disconnectd campaign retry \
                 {id}` tries them again",
                accounts(campaign.counts.failed)
            ));
            Exit::Failed
        }
        State::Aborted => {
            screen.error(&format!("campaign {id} was aborted; `disconnectd campaign show {id}` says more"));
            Exit::Failed
        }
        State::Paused | State::Draft | State::AwaitingApproval if waited_s.is_none() => {
            screen.error(&format!("campaign {id} waits for somebody: {}", waits_for(campaign)));
            Exit::UnderWay
        }
        _ => {
            let waited = waited_s.map(|seconds| format!(" after {seconds} s")).unwrap_or_default();
            screen.error(&format!(
                "campaign {id} {}{waited}; `disconnectd campaign show {id}` tells how it goes on",
                campaign.state.in_words()
            ));
            Exit::UnderWay
        }
    })
}

fn waits_for(campaign: &CampaignView) -> String {
    let id = campaign.id;
    match campaign.state {
        State::Paused => {
            let note = campaign.pause_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!(
                "it is paused{note}; `disconnectd campaign resume {id}` goes on, `disconnectd campaign abort {id}` ends it"
            )
        }
        State::AwaitingApproval => {
            format!(
                "it is awaiting approval; `disconnectd campaign approve {id}`, then `disconnectd campaign start {id}`"
            )
        }
        _ => format!("it has not been started; `disconnectd campaign start {id}` does"),
    }
}

fn summary(campaign: &CampaignView) -> String {
    let totals = &campaign.totals;
    let how = if campaign.state == State::Aborted { "aborted" } else { "complete" };
    let invoices = match totals.invoices {
        0 => "No final invoice was issued.".into(),
        1 => format!("1 final invoice over {}.", sums(&totals.invoiced)),
        n => format!("{} final invoices over {}.", number(n), sums(&totals.invoiced)),
    };
    let of = accounts(campaign.counts.accounts);
    format!("Campaign {} is {how}: {of}, {}. {invoices}", named(campaign), in_short(campaign))
}

/// How it is shown.
enum Face<'s> {
    Bar { bar: ProgressBar, rate: Rate, told: Option<State>, session: &'s Session },
    Lines { last: Option<String>, rate: Rate, session: &'s Session },
    Json { last: Option<Box<CampaignView>>, session: &'s Session },
}

impl<'s> Face<'s> {
    fn of(session: &'s Session) -> Self {
        if session.screen.json {
            return Self::Json { last: None, session };
        }
        if !session.screen.is_watched() {
            return Self::Lines { last: None, rate: Rate::default(), session };
        }
        let bar = session.screen.with_bar(ProgressBar::new(0));
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {percent:>3} %  {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Bar { bar, rate: Rate::default(), told: None, session }
    }

    fn is_for_person(&self) -> bool {
        matches!(self, Self::Bar { .. })
    }

    /// `false` where nobody looks any more.
    fn show(&mut self, campaign: &CampaignView) -> Result<bool, CliError> {
        match self {
            Self::Bar { bar, rate, told, session } => {
                rate.add(campaign);
                let counts = &campaign.counts;
                bar.set_length(u64::try_from(counts.accounts).unwrap_or(0));
                bar.set_position(u64::try_from(counts.done()).unwrap_or(0));
                bar.set_message(line(campaign, rate));
                if is_waiting(campaign) && *told != Some(campaign.state) {
                    let text = format!("campaign {} waits for somebody: {}", campaign.id, waits_for(campaign));
                    session.screen.note(&text);
                }
                *told = Some(campaign.state);
                Ok(true)
            }
            Self::Lines { last, rate, session } => {
                rate.add(campaign);
                // The rate alone is no change.
                let this = format!("{}: {}", state_name(campaign.state), in_short(campaign));
                if last.as_ref() == Some(&this) {
                    return Ok(true);
                }
                *last = Some(this);
                session.screen.stream(&format!("{} UTC  {}\n", instant(&campaign.as_of), line(campaign, rate)))
            }
            Self::Json { last, session } => {
                let as_it_was = |last: &CampaignView| CampaignView { as_of: last.as_of, ..campaign.clone() } == *last;
                if last.as_deref().is_some_and(as_it_was) {
                    return Ok(true);
                }
                *last = Some(Box::new(campaign.clone()));
                session.screen.print_json_line(campaign)
            }
        }
    }

    /// Something to know beside it.
    fn note(&self, text: &str) {
        match self {
            Self::Bar { session, .. } | Self::Lines { session, .. } | Self::Json { session, .. } => {
                session.screen.note(text);
            }
        }
    }

    fn end(&self) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// `running, 60 a second, about 30 s left: 118 disconnected, 2 failed, 1,749 to come`.
fn line(campaign: &CampaignView, rate: &Rate) -> String {
    let rate = rate.told(number).map(|told| format!(", {told}")).unwrap_or_default();
    format!("{}{rate}: {}", state_name(campaign.state), in_short(campaign))
}

#[cfg(test)]
mod tests {
    use super::super::tests::campaign;
    use super::*;

    #[test]
    fn what_waits_for_a_person_says_for_what() {
        let mut view = campaign();
        view.state = State::Paused;
        view.pause_note = Some("calls come in".into());
        assert!(waits_for(&view).contains("paused (calls come in); `disconnectd campaign resume 7`"));
        view.state = State::AwaitingApproval;
        assert!(waits_for(&view).contains("campaign approve 7"));
        view.state = State::Draft;
        assert!(waits_for(&view).contains("campaign start 7"));
    }
}
