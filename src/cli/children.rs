//! What is to become of the children: as it is said in arguments, asked for, and told.

use clap::Args;

use super::plain::plain;
use super::session::{CliError, Session};
use crate::domain::account::AccountNumber;
use crate::domain::dispositions::{ChildPlan, Choice, Disposition, Dispositions};
use crate::domain::event::EventView;
use crate::domain::overview::OverviewFacts;
use crate::domain::refusal::{Refusal, UndecidedChild};
use crate::domain::request::{DisconnectRequest, admit};

/// What is to become of the children.
#[derive(Debug, Args)]
pub struct ChildrenArgs {
    /// What is to become of every child that --child does not name: keep, disconnect or unlink
    #[arg(long, value_name = "CHOICE", value_parser = Choice::parse)]
    children: Option<Choice>,
    /// What is to become of one child: NUMBER=keep, NUMBER=unlink, NUMBER=disconnect, NUMBER=disconnect@WHEN
    #[arg(long, value_name = "NUMBER=CHOICE", value_parser = one, allow_hyphen_values = true)]
    child: Vec<(AccountNumber, Choice)>,
}

impl ChildrenArgs {
    #[must_use]
    pub fn dispositions(self) -> Dispositions {
        Dispositions { all: self.children, each: self.child.into_iter().collect() }
    }
}

/// A number may have an equals sign, a choice has none.
fn one(text: &str) -> Result<(AccountNumber, Choice), String> {
    let (number, choice) =
        text.rsplit_once('=').ok_or_else(|| format!("`{text}` is not NUMBER=CHOICE, as in 1002=keep"))?;
    Ok((AccountNumber::parse(number)?, Choice::parse(choice)?))
}

/// Asks about each child that nobody decided about, until all are, those below a child that is to be disconnected too.
pub async fn ask(session: &Session, request: &mut DisconnectRequest, facts: &OverviewFacts) -> Result<(), CliError> {
    loop {
        match admit(request, facts) {
            Err(Refusal::UndecidedChildren { children, .. }) => {
                for child in children {
                    let choice = ask_about(session, &child, facts).await?;
                    request.children.each.insert(child.number, choice);
                }
            }
            Err(refusal) => return Err(refusal.into()),
            Ok(_) => return Ok(()),
        }
    }
}

async fn ask_about(session: &Session, child: &UndecidedChild, facts: &OverviewFacts) -> Result<Choice, CliError> {
    let family = &facts.snapshot.family;
    let contact = family
        .children
        .iter()
        .chain(&family.descendants)
        .find(|relative| relative.number == child.number)
        .filter(|relative| !relative.contact.is_empty())
        .map_or("no contact of its own".into(), |relative| plain(&relative.contact.ways()).into_owned());
    let question = format!(
        "What is to become of child {} ({}; {contact})? keep, disconnect, unlink:",
        child.number,
        plain(&child.name)
    );
    loop {
        let answer = session.screen.ask(&question).await?;
        match Choice::parse(&answer) {
            Ok(choice) => return Ok(choice),
            Err(_) if answer.trim().is_empty() => {
                return Err(CliError::refused("not_confirmed", "nothing was done: there was no answer"));
            }
            Err(error) => session.screen.note(&error),
        }
    }
}

/// For a question: how many go with it.
#[must_use]
pub fn in_short(plans: &[ChildPlan]) -> String {
    let count = |wanted: Disposition| plans.iter().filter(|plan| plan.disposition == wanted).count();
    let told = [
        (count(Disposition::Disconnect), "to be disconnected"),
        (count(Disposition::Unlink), "to be unlinked"),
        (count(Disposition::Keep), "kept"),
    ];
    let told: Vec<_> =
        told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if told.is_empty() { String::new() } else { format!(", children: {}", told.join(", ")) }
}

/// For an answer: what was decided about each child, and what to know about it.
#[must_use]
pub fn decided(event: &EventView) -> String {
    lines(event).iter().fold(String::new(), |all, line| all + "\n  " + line)
}

/// The same, line by line.
#[must_use]
pub fn lines(event: &EventView) -> Vec<String> {
    let line = |child: &crate::domain::review::ChildView| {
        let own = match (child.event_id, child.event_state) {
            (Some(event), Some(state)) => format!(", event {event} is {}", state.as_str()),
            _ => String::new(),
        };
        let warning = child.warning.as_ref().map(|warning| format!(" ({warning})")).unwrap_or_default();
        format!("child {}: {}{own}{warning}", child.number, child.disposition)
    };
    event.children.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_for_one_child_is_read_from_behind() {
        let (number, choice) = one("A=1=disconnect@2026-12-01").unwrap();
        assert_eq!((number.as_str(), choice.disposition()), ("A=1", Disposition::Disconnect));
        assert!(one("1002").unwrap_err().contains("NUMBER=CHOICE"));
        assert!(one("1002=drop").unwrap_err().contains("keep, unlink, disconnect"));
        assert!(one("=keep").is_err());
    }
}
