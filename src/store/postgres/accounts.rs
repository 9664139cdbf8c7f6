//! Accounts, as they are shown, and their contacts.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::campaigns::stands;
use super::events::events_of;
use super::failure::{Failure, expect_rows};
use super::search::{
    Found, WithOpenEvent, address_like_sql, like_sql, may_search, text_like_sql, without_parallel_workers,
};
use super::{PostgresStore, VERB_LIMIT, family, groups, invoices, overview, rows, within};
use crate::domain::account::{
    AccountFilter, AccountNumber, AccountOrder, AccountView, ContactChange, Group, LogEntry, LogKind,
};
use crate::domain::actor::Actor;
use crate::domain::glance::GlanceFacts;
use crate::domain::invoice::{InvoiceNumber, InvoiceView};
use crate::domain::overview::OverviewFacts;
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::domain::text::folded;
use crate::store::{Accounts, Page, Paged, StoreResult};

#[async_trait]
impl Accounts for PostgresStore {
    async fn account(&self, number: &AccountNumber) -> StoreResult<AccountView> {
        within(VERB_LIMIT, async { view(&mut *self.pool.acquire().await?, number).await }).await
    }

    async fn accounts(&self, filter: &AccountFilter, page: &Page) -> StoreResult<Paged<AccountView>> {
        within(VERB_LIMIT, list(self, filter, page)).await
    }

    async fn groups(&self, page: &Page) -> StoreResult<Paged<Group>> {
        within(VERB_LIMIT, groups::list(self, page)).await
    }

    async fn overview_facts(&self, number: &AccountNumber) -> StoreResult<OverviewFacts> {
        within(VERB_LIMIT, overview::facts(self, number)).await
    }

    async fn glance_facts(&self, number: &AccountNumber) -> StoreResult<GlanceFacts> {
        within(VERB_LIMIT, overview::glance(self, number)).await
    }

    async fn invoices(&self, account: Option<&AccountNumber>, page: &Page) -> StoreResult<Paged<InvoiceView>> {
        within(VERB_LIMIT, invoices::list(self, account, page)).await
    }

    async fn invoice(&self, number: InvoiceNumber) -> StoreResult<InvoiceView> {
        within(VERB_LIMIT, invoices::show(self, number)).await
    }

    async fn log(&self, number: &AccountNumber, page: &Page) -> StoreResult<Paged<LogEntry>> {
        within(VERB_LIMIT, log(self, number, page)).await
    }

    async fn link(&self, child: &AccountNumber, parent: &AccountNumber, by: &Actor) -> StoreResult<AccountView> {
        within(VERB_LIMIT, family::link(self, child, parent, by)).await
    }

    async fn unlink(&self, child: &AccountNumber, by: &Actor) -> StoreResult<AccountView> {
        within(VERB_LIMIT, family::unlink(self, child, by)).await
    }

    async fn change_contact(
        &self,
        number: &AccountNumber,
        change: &ContactChange,
        by: &Actor,
    ) -> StoreResult<AccountView> {
        within(VERB_LIMIT, change_contact(self, number, change, by)).await
    }
}

/// An account as it is shown: what is asked before the columns, where the account comes from, and what comes after that.
macro_rules! account_view_sql {
    ($name:literal, $rest:literal) => {
        account_view_sql!($name, "accounts a", $rest)
    };
    ($name:literal, $from:expr, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select a.number, a.name, s.name as status, a.disconnected_at, p.number as parent_number,
                    (select count(*) from accounts c where c.parent_id = a.id) as children,
                    l.address, a.currency, a.zone, a.email, a.mailing_address,
                    array(select g.name from account_groups m join groups g on g.id = m.group_id
                           where m.account_id = a.id order by g.name collate \"C\") as groups,
                    (select least(coalesce(sum(d.amount::numeric + d.tax), 0), 9223372036854775807)::bigint
                       from debits d where d.account_id = a.id and d.invoice_id is null) as uninvoiced,
                    (select e.id from ",
            events_of!("a.id"),
            " e where e.state in ('scheduled', 'queued') and ",
            stands!("e"),
            ") as open_event
               from ",
            $from,
            "
               join account_statuses s on s.id = a.status_id
               left join accounts p on p.id = a.parent_id
               left join address_assignments o on o.account_id = a.id and o.assigned_until is null
               left join serviceable_addresses l on l.id = o.address_id ",
            $rest
        )
    };
}

/// The accounts that a filter selects: behind a cursor, by what a search found (`$7` to `$9`, see [`Found`]), by whether
/// they have an open event (`$10`, see [`WithOpenEvent`]), and in an order. A statement for each, so that each goes by its
/// own indexes.
macro_rules! accounts_sql {
    ($name:literal, $behind:literal, $search:expr, $open:expr, $order:literal) => {
        accounts_sql!($name, "accounts a", $behind, $search, $open, $order)
    };
    ($name:literal, $from:expr, $behind:literal, $search:expr, $open:expr, $order:literal) => {
        concat!(
            account_view_sql!($name, $from, "where ("),
            $behind,
            ")
           and ($2::text is null or s.name = $2)
           and ($3::text is null or exists (select from account_groups m join groups g on g.id = m.group_id
                                             where m.account_id = a.id and g.name = $3))
           and ($4::text is null or p.number = $4)
           and ($5::boolean is null or (a.disconnected_at is not null) = $5)
           and ",
            $search,
            $open,
            "
         order by ",
            $order,
            "
         limit $6"
        )
    };
}

pub(super) async fn view(db: &mut PgConnection, number: &AccountNumber) -> Result<AccountView, Failure> {
    let found = sqlx::query(account_view_sql!("account", "where a.number = $1"))
        .bind(number.as_str())
        .fetch_optional(db)
        .await?;
    rows::account_view(&found.ok_or_else(|| unknown(number))?)
}

/// The statement for a list. Where few were found, no index is in its order, lest the planner walks along that.
fn listing(filter: &AccountFilter, found: Option<&Found>) -> &'static str {
    macro_rules! by_event {
        ($name:literal, $behind:literal, $search:expr, $order:literal) => {
            match filter.open_event {
                None => accounts_sql!($name, $behind, $search, " and $10::bigint[] is null", $order),
                Some(true) => accounts_sql!(
                    $name,
                    $behind,
                    $search,
                    concat!(
                        " and ($10::bigint[] is null or a.disconnected_at is null or a.id = any($10)) and ",
                        open_sql!()
                    ),
                    $order
                ),
                Some(false) => {
                    accounts_sql!(
                        $name,
                        $behind,
                        $search,
                        concat!(" and $10::bigint[] is null and not ", open_sql!()),
                        $order
                    )
                }
            }
        };
    }
    // Looked up for each account, and never joined: what the planner knows of open events is from before a campaign's start.
    macro_rules! open_sql {
        () => {
            concat!(
                "coalesce((select true from ",
                events_of!("a.id"),
                " e where e.state in ('scheduled', 'queued') and ",
                stands!("e"),
                " limit 1), false)"
            )
        };
    }
    macro_rules! by_what_is_found {
        ([$all:literal, $few:literal, $many:literal], $behind:literal, $order:literal, $sorted:literal) => {
            match found {
                None => {
                    by_event!($all, $behind, "$7::bigint[] is null and $8::text is null and $9::text is null", $order)
                }
                Some(found) if found.are_few() => {
                    by_event!($few, $behind, "a.id = any($7) and $8::text is null and $9::text is null", $sorted)
                }
                Some(_) => by_event!($many, $behind, many_sql!(), $order),
            }
        };
    }
    macro_rules! many_sql {
        () => {
            concat!(
                "(a.id = any($7)
                or ($8::text is not null and ",
                text_like_sql!("a", "$8"),
                ")
                or ($9::text is not null
                    and coalesce((select ",
                address_like_sql!("t", "$9"),
                "
                                    from address_assignments g join serviceable_addresses t on t.id = g.address_id
                                   where g.account_id = a.id and g.assigned_until is null), false)))"
            )
        };
    }
    match filter.order {
        AccountOrder::Number if walks_open_events(filter) => accounts_sql!(
            "accounts: with an open event",
            concat!(
                "(select e.account_id, e.account_number from disconnect_events e
                   where e.state in ('scheduled', 'queued') and e.account_number > coalesce($1::text, '') and ",
                stands!("e"),
                // A limit, for it to be planned for the first ones: else all are read by another index, and sorted.
                " order by e.account_number limit 9223372036854775807) w
                 cross join lateral (select * from accounts where id = w.account_id offset 0) a"
            ),
            "true",
            "$7::bigint[] is null and $8::text is null and $9::text is null",
            " and $10::bigint[] is null",
            "w.account_number"
        ),
        AccountOrder::Number => by_what_is_found!(
            ["accounts", "accounts: few found", "accounts: many found"],
            "$1::text is null or a.number > $1",
            "a.number",
            "a.number || ''"
        ),
        AccountOrder::Name => by_what_is_found!(
            ["accounts by name", "accounts by name: few found", "accounts by name: many found"],
            "(a.name collate \"C\", a.number) >
             (coalesce((select n.name from accounts n where n.number = $1), '') collate \"C\", coalesce($1::text, ''))",
            "a.name collate \"C\", a.number",
            "(a.name || '') collate \"C\", a.number"
        ),
    }
}

/// Whether the list goes through the open events by their accounts' numbers. Not where another filter leaves few of them: each
/// would be looked up for a page that is never filled.
fn walks_open_events(filter: &AccountFilter) -> bool {
    let is_narrow = filter.group.is_some() || filter.parent.is_some() || filter.disconnected == Some(true);
    filter.open_event == Some(true) && filter.search.is_none() && filter.order == AccountOrder::Number && !is_narrow
}

async fn list(store: &PostgresStore, filter: &AccountFilter, page: &Page) -> Result<Paged<AccountView>, Failure> {
    if walks_open_events(filter) || filter.search.is_none() && filter.open_event != Some(true) {
        return page_of(&mut *store.pool.acquire().await?, filter, page, None, None).await;
    }
    let mut view = store.begin_view().await?;
    let (mut found, mut disconnected) = (None, None);
    if filter.open_event == Some(true) {
        match WithOpenEvent::find(&mut view).await? {
            WithOpenEvent::Few(few) => found = Some(Found::few(few)),
            WithOpenEvent::Many { disconnected: these } => disconnected = these,
        }
    }
    if let Some(search) = &filter.search {
        may_search(&mut view).await?;
        let few = found.as_ref().map(|found| found.few.as_slice());
        let by_text = Found::by_text(&mut view, &folded(search), few).await?;
        if by_text.are_few() {
            without_parallel_workers(&mut view).await?;
        }
        found = Some(by_text);
    }
    let accounts = page_of(&mut view, filter, page, found.as_ref(), disconnected).await?;
    view.rollback().await;
    Ok(accounts)
}

async fn page_of(
    db: &mut PgConnection,
    filter: &AccountFilter,
    page: &Page,
    found: Option<&Found>,
    disconnected: Option<Vec<i64>>,
) -> Result<Paged<AccountView>, Failure> {
    let rows = sqlx::query(listing(filter, found))
        .bind(&page.after)
        .bind(&filter.status)
        .bind(&filter.group)
        .bind(filter.parent.as_ref().map(AccountNumber::as_str))
        .bind(filter.disconnected)
        .bind(i64::from(page.limit) + 1)
        .bind(found.map(|found| &found.few))
        .bind(found.and_then(|found| found.text_pattern.as_deref()))
        .bind(found.and_then(|found| found.address_pattern.as_deref()))
        .bind(disconnected)
        .persistent(found.is_none()) // else planned for what was found
        .fetch_all(db)
        .await?;
    let accounts = rows.iter().map(rows::account_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(accounts, page.limit, |account| account.number.to_string()))
}

async fn log(store: &PostgresStore, number: &AccountNumber, page: &Page) -> Result<Paged<LogEntry>, Failure> {
    let after = rows::id_cursor(page.after.as_deref())?;
    let account: Option<i64> = sqlx::query_scalar("/* log: account */ select id from accounts where number = $1")
        .bind(number.as_str())
        .fetch_optional(&store.pool)
        .await?;
    let found = sqlx::query(
        "/* log */
         select id, at, kind, message, actor, source, event_id, reason
           from account_log
          where account_id = $1 and ($2::bigint is null or id > $2)
          order by id
          limit $3",
    )
    .bind(account.ok_or_else(|| unknown(number))?)
    .bind(after)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let entries = found
        .iter()
        .map(|row| Ok((row.try_get::<i64, _>("id")?, rows::log_entry(row)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let Paged { items, next_cursor } = Paged::cut(entries, page.limit, |(id, _)| id.to_string());
    Ok(Paged { items: items.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
}

async fn change_contact(
    store: &PostgresStore,
    number: &AccountNumber,
    change: &ContactChange,
    by: &Actor,
) -> Result<AccountView, Failure> {
    let mut tx = store.begin().await?;
    let found = sqlx::query(
        "/* contact: lock account */ select id, email, mailing_address from accounts where number = $1 for update",
    )
    .bind(number.as_str())
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| unknown(number))?;
    let before = rows::contact(&found)?;
    let contact = change.of(&before);
    if before != contact {
        let id: i64 = found.try_get("id")?;
        let changed =
            sqlx::query("/* contact: change */ update accounts set email = $2, mailing_address = $3 where id = $1")
                .bind(id)
                .bind(&contact.email)
                .bind(&contact.mailing_address)
                .execute(&mut *tx)
                .await?;
        expect_rows("accounts to change", 1, changed.rows_affected())?;
        write_log(&mut tx, id, LogKind::Changed, &story::contact_changed(&before, &contact), by).await?;
    }
    let view = view(&mut tx, number).await?;
    tx.commit().await?;
    Ok(view)
}

/// What a person did to one account, apart from its disconnect.
pub(super) async fn write_log(
    db: &mut PgConnection,
    account: i64,
    kind: LogKind,
    message: &str,
    by: &Actor,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* account log: write */
         insert into account_log (account_id, at, kind, message, actor, source)
         values ($1, clock_timestamp(), $2, $3, $4, $5)",
    )
    .bind(account)
    .bind(kind.as_str())
    .bind(message)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(db)
    .await?;
    expect_rows("log entries", 1, written.rows_affected())
}

pub(super) fn unknown(number: &AccountNumber) -> Failure {
    Refusal::UnknownAccount { number: number.clone() }.into()
}
