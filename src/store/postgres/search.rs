//! What the lists' search finds: text anywhere in an account's number, name or address.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::campaigns::stands;
use super::failure::Failure;
use crate::store::like::containing;

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

/// The statements of this transaction may search: by trigrams, which is always by bitmap, or through all, which is the quickest
/// way to what most accounts have.
pub(super) async fn may_search(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* search */ set local enable_seqscan = on; set local enable_bitmapscan = on").execute(db).await?;
    Ok(())
}

/// The rest of this transaction looks up what was found: to begin a parallel worker takes longer than that.
pub(super) async fn without_parallel_workers(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* search: look up */ set local max_parallel_workers_per_gather = 0").execute(db).await?;
    Ok(())
}

/// What accounts are found by, in a form that a list can go by: few are found once, and looked up; of many, a walk through
/// the accounts, in the order of the list, comes by enough soon.
pub(super) struct Found {
    pub(super) few: Vec<i64>,
    /// What the text of an account is like, where that is so of more.
    pub(super) text_pattern: Option<String>,
    /// And its address.
    pub(super) address_pattern: Option<String>,
}

impl Found {
    /// So many are looked up and sorted in some 50 ms; a walk comes by 50 of more than these within 10,000 accounts, if there
    /// are a million and they are spread.
    const FEW: i64 = 10_000;

    /// By a search for a text that is folded, of which the index of trigrams is asked, or all is read where most is found;
    /// among `few`, where these are known.
    pub(super) async fn by_text(db: &mut PgConnection, search: &str, few: Option<&[i64]>) -> Result<Self, Failure> {
        let (texts, addresses) = samples(db).await?;
        let pattern = containing(search);
        let found = sqlx::query(concat!(
            "/* accounts: search */
             with t as materialized (select a.id from accounts a where ",
            text_like_sql!("a", "$4"),
            " and ($4 = $1 or coalesce(a.searched, lower(a.number || E'\n' || a.name collate \"default\")) like $1)
               and ($3::bigint[] is null or a.id = any($3)) limit $2 + 1),
                  l as materialized (select g.account_id as id from serviceable_addresses t
                                       join address_assignments g on g.address_id = t.id and g.assigned_until is null
                                      where ",
            address_like_sql!("t", "$5"),
            " and ($5 = $1 or coalesce(t.searched, lower(t.address)) like $1)
               and ($3::bigint[] is null or g.account_id = any($3)) limit $2 + 1),
                  n as (select (select count(*) from t) > $2 as texts, (select count(*) from l) > $2 as addresses)
             select texts, addresses,
                    array(select id from t where not texts union select id from l where not addresses) as few
               from n"
        ))
        .bind(&pattern)
        .bind(Self::FEW)
        .bind(few)
        .bind(containing(rare_part(search, &texts)))
        .bind(containing(rare_part(search, &addresses)))
        .persistent(false) // planned for this very pattern
        .fetch_one(db)
        .await?;
        let many = |is_many: bool| is_many.then(|| pattern.clone());
        Ok(Self {
            few: found.try_get("few")?,
            text_pattern: many(found.try_get("texts")?),
            address_pattern: many(found.try_get("addresses")?),
        })
    }

    pub(super) fn few(few: Vec<i64>) -> Self {
        Self { few, text_pattern: None, address_pattern: None }
    }

    pub(super) fn are_few(&self) -> bool {
        self.text_pattern.is_none() && self.address_pattern.is_none()
    }
}

/// Of what is searched in, accounts and addresses, some hundred that the planner knows.
async fn samples(db: &mut PgConnection) -> Result<(Vec<String>, Vec<String>), Failure> {
    let found: (Option<Vec<String>>, Option<Vec<String>>) = sqlx::query_as(
        "/* search: samples */
         select (select histogram_bounds::text::text[] from pg_stats
                  where schemaname = current_schema() and tablename = 'accounts' and attname = 'searched'),
                (select histogram_bounds::text::text[] from pg_stats
                  where schemaname = current_schema() and tablename = 'serviceable_addresses' and attname = 'searched')",
    )
    .fetch_one(db)
    .await?;
    Ok((found.0.unwrap_or_default(), found.1.unwrap_or_default()))
}

/// Less than a trigram finds too much.
const LETTERS_MIN: usize = 3;

/// What the index is asked for: without the words at either end that half of the sample has, if hardly any of it has the
/// rest. To find `street 117` by all its trigrams, those of all streets are read: 39 ms at a million, 3 by ` 117`.
fn rare_part<'a>(search: &'a str, sample: &[String]) -> &'a str {
    let shared_by = |part: &str| sample.iter().filter(|text| text.contains(part)).count();
    let is_rare = |word: &str| !word.is_empty() && shared_by(word) * 2 < sample.len();
    let (mut begin, mut rare) = (0, None);
    for word in search.split(' ') {
        let end = begin + word.len();
        if is_rare(word) {
            rare = Some((rare.map_or(begin, |(first, _)| first), end));
        }
        begin = end + 1;
    }
    let Some((begin, end)) = rare else { return search };
    // With the spaces around it, which are in the trigrams at its ends.
    let part = &search[begin.saturating_sub(1)..search.len().min(end + 1)];
    let is_found_by = part.trim().chars().count() >= LETTERS_MIN && shared_by(part) * 20 <= sample.len();
    if is_found_by { part } else { search }
}

/// Who has an open event.
pub(super) enum WithOpenEvent {
    Few(Vec<i64>),
    /// A walk passes over the disconnected, but for these: what failed and is tried again after another event's disconnect.
    /// None where those are many too.
    Many {
        disconnected: Option<Vec<i64>>,
    },
}

impl WithOpenEvent {
    pub(super) async fn find(db: &mut PgConnection) -> Result<Self, Failure> {
        let few: Vec<i64> = sqlx::query_scalar(concat!(
            "/* accounts: with an open event */
             select e.account_id from disconnect_events e where e.state in ('scheduled', 'queued') and ",
            stands!("e"),
            " order by e.account_number limit $1"
        ))
        .bind(Found::FEW + 1)
        .fetch_all(&mut *db)
        .await?;
        if let Some(few) = bounded(few) {
            return Ok(Self::Few(few));
        }
        let disconnected: Vec<i64> = sqlx::query_scalar(
            "/* accounts: disconnected with an open event */
             select a.id
               from (select account_id from disconnect_events
                      where state in ('scheduled', 'queued') and last_error is not null
                     offset 0) e
               join accounts a on a.id = e.account_id and a.disconnected_at is not null
              limit $1",
        )
        .bind(Found::FEW + 1)
        .fetch_all(db)
        .await?;
        Ok(Self::Many { disconnected: bounded(disconnected) })
    }
}

fn bounded(found: Vec<i64>) -> Option<Vec<i64>> {
    i64::try_from(found.len()).is_ok_and(|count| count <= Found::FEW).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_most_have_are_not_looked_up() {
        let streets: Vec<String> = (0..100).map(|n| format!("{n} {} street", ["elm", "oak"][n % 2])).collect();
        for (search, part) in [
            ("street 117", " 117"),
            ("117 street", "117 "),
            ("street 117 main street", " 117 main "),
            ("117 street 118", "117 street 118"),
            ("117", "117"),
            ("  street  117  ", " 117 "),
            ("street é 117 street", " é 117 "),
            // Many have the rest, or it is nothing.
            ("elm street", "elm street"),
            ("street", "street"),
            ("1 street", "1 street"),
            ("street xy", "street xy"),
            (" ", " "),
        ] {
            assert_eq!(rare_part(search, &streets), part, "{search}");
            assert_eq!(rare_part(search, &[]), search, "nothing is known");
        }
    }
}
