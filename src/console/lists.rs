//! What the lists share: the fields that they are filtered by, where they go on, and links to a part of them.

use axum::http::StatusCode;
use url::form_urlencoded;

use crate::api::problem::{Answer, Problem};
use crate::domain::account::AccountNumber;
use crate::domain::text::TEXT_MAX;
use crate::store::Page;

/// How many rows a list has.
const ROWS: u32 = 50;

/// What a filter's field asks for; nothing where it is empty.
pub fn some(text: &str) -> Answer<Option<String>> {
    let text = text.trim();
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        let detail = "Nothing here has control characters, or is as long as that; search for something else.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// A cursor as a link has it.
pub fn page_after(after: &str) -> Answer<Page> {
    if after.chars().count() > AccountNumber::LENGTH_MAX || after.chars().any(char::is_control) {
        let detail = "This link does not lead to a part of the list; begin at its start.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail));
    }
    Ok(Page { after: Some(after.to_owned()).filter(|after| !after.is_empty()), limit: ROWS })
}

/// The same of a list whose cursors are numbers.
pub fn numbered_page_after(after: &str) -> Answer<Page> {
    if !after.is_empty() && after.parse::<i64>().is_err() {
        return page_after("\u{0}");
    }
    page_after(after)
}

/// A path with what is asked there, without what is empty.
pub fn link(path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.into() } else { format!("{path}?{query}") }
}
