//! Arguments, read into what they mean.

use crate::domain::event::{Along, EventId, State};
use crate::domain::invoice::InvoiceNumber;
use crate::domain::token::TokenId;
use crate::import::TEXT_MAX;

/// Free text: a reason, an address. What a file may hold, an argument may.
pub fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.chars().count() > TEXT_MAX {
        return Err(format!("it has more than {TEXT_MAX} characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("it has control characters".into());
    }
    Ok(text.to_owned())
}

/// How many characters the name of a status, or of a token's owner, has at most.
const NAME_MAX: usize = 64;

pub fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {NAME_MAX} characters, none of them a control character"));
    }
    Ok(text.to_owned())
}

pub fn event_id(text: &str) -> Result<EventId, String> {
    text.parse()
        .map(EventId)
        .map_err(|_| format!("`{text}` is not the number of an event; `disconnectd events list` shows them"))
}

pub fn invoice_number(text: &str) -> Result<InvoiceNumber, String> {
    text.parse()
        .map(InvoiceNumber)
        .map_err(|_| format!("`{text}` is not the number of an invoice; `disconnectd invoices list` shows them"))
}

pub fn token_id(text: &str) -> Result<TokenId, String> {
    text.parse()
        .map(TokenId)
        .map_err(|_| format!("`{text}` is not the number of a token; `disconnectd tokens list` shows them"))
}

pub fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| {
        let states: Vec<_> = State::ALL.into_iter().map(State::as_str).collect();
        format!("there is no state `{text}`; there are {}", states.join(", "))
    })
}

pub fn along(text: &str) -> Result<Along, String> {
    match text {
        "along" => Ok(Along::Along),
        "leave" => Ok(Along::Leave),
        _ => Err("it is `along` (the same happens to them) or `leave` (they stay as they are)".into()),
    }
}
