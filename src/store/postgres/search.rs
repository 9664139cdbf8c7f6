//! What the lists' search finds: text anywhere in an account's number, name or address.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::Failure;

/// Whether a search finds an account by its own text. What is not folded yet has an index of its own.
macro_rules! text_like_sql {
    ($row:literal, $pattern:literal) => {
        like_sql!($row, concat!($row, ".number || E'\n' || ", $row, ".name collate \"default\""), $pattern)
    };
}

/// And by its address.
macro_rules! address_like_sql {
    ($row:literal, $pattern:literal) => {
        like_sql!($row, concat!($row, ".address"), $pattern)
    };
}

macro_rules! like_sql {
    ($row:literal, $unfolded:expr, $pattern:literal) => {
        concat!(
            concat!("(", $row, ".searched like ", $pattern, " or (", $row, ".searched is null and lower("),
            $unfolded,
            concat!(") like ", $pattern, "))")
        )
    };
}
pub(super) use {address_like_sql, like_sql, text_like_sql};

/// What a search finds, in a form that a list can go by: few are found once, by the index of their trigrams, and looked up;
/// of many, a walk through the accounts, in the order of the list, comes by enough soon.
pub(super) struct Found {
    /// Those whose own text matches, and those whose address does, where they are few.
    pub(super) few: Vec<i64>,
    pub(super) texts_match_many: bool,
    pub(super) addresses_match_many: bool,
}

impl Found {
    const FEW: i64 = 10_000;

    pub(super) async fn by(db: &mut PgConnection, pattern: &str) -> Result<Self, Failure> {
        let found = sqlx::query(concat!(
            "/* accounts: search */
             with t as materialized (select a.id from accounts a where ",
            text_like_sql!("a", "$1"),
            " limit $2 + 1),
                  l as materialized (select l.id from serviceable_addresses l where ",
            address_like_sql!("l", "$1"),
            " limit $2 + 1),
                  n as (select (select count(*) from t) > $2 as texts, (select count(*) from l) > $2 as addresses)
             select texts, addresses,
                    array(select id from t where not texts
                          union
                          select g.account_id from l join address_assignments g on g.address_id = l.id
                           where g.assigned_until is null and not addresses) as few
               from n"
        ))
        .bind(pattern)
        .bind(Self::FEW)
        .persistent(false) // planned for this very pattern
        .fetch_one(db)
        .await?;
        Ok(Self {
            few: found.try_get("few")?,
            texts_match_many: found.try_get("texts")?,
            addresses_match_many: found.try_get("addresses")?,
        })
    }
}

/// The pattern of what contains `text`, whatever is in it.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_taken_literally() {
        assert_eq!(containing(r"50%_a\b"), r"%50\%\_a\\b%");
    }
}
