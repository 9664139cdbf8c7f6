//! Accounts, as they are shown, and their contacts.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::campaigns::stands;
use super::failure::{Failure, expect_rows};
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

/// An account as it is shown: what is asked before the columns, and what comes after them.
macro_rules! account_view_sql {
    ($name:literal, $rest:literal) => {
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
                    (select e.id from disconnect_events e
                      where e.account_id = a.id and e.state in ('scheduled', 'queued') and ",
            stands!("e"),
            ") as open_event
               from accounts a
               join account_statuses s on s.id = a.status_id
               left join accounts p on p.id = a.parent_id
               left join address_assignments o on o.account_id = a.id and o.assigned_until is null
               left join serviceable_addresses l on l.id = o.address_id ",
            $rest
        )
    };
}

/// The accounts that a filter selects, behind a cursor and in an order. One statement for each order, so that each walks
/// its own index.
macro_rules! accounts_sql {
    ($name:literal, $behind:literal, $order:literal) => {
        concat!(
            account_view_sql!($name, "where ("),
            $behind,
            ")
           -- The addresses once for all: a look at that of each account took three times as long where none is found.
           and ($2::text is null or coalesce(a.searched, lower(a.number || E'\n' || a.name collate \"default\")) like $2
                or a.id in (select g.account_id from address_assignments g
                             where g.assigned_until is null
                               and g.address_id in (select id from serviceable_addresses
                                                     where coalesce(searched, lower(address)) like $2)))
           and ($3::text is null or s.name = $3)
           and ($4::text is null or exists (select from account_groups m join groups g on g.id = m.group_id
                                             where m.account_id = a.id and g.name = $4))
           and ($5::text is null or p.number = $5)
           and ($6::boolean is null or (a.disconnected_at is not null) = $6)
           and ($7::boolean is null or exists (select from disconnect_events e
                                                where e.account_id = a.id and e.state in ('scheduled', 'queued')
                                                  and ",
            stands!("e"),
            ") = $7)
         order by ",
            $order,
            "
         limit $8"
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

async fn list(store: &PostgresStore, filter: &AccountFilter, page: &Page) -> Result<Paged<AccountView>, Failure> {
    let listing = match filter.order {
        AccountOrder::Number => accounts_sql!("accounts", "$1::text is null or a.number > $1", "a.number"),
        AccountOrder::Name => accounts_sql!(
            "accounts by name",
            "(a.name collate \"C\", a.number) >
             (coalesce((select n.name from accounts n where n.number = $1), '') collate \"C\", coalesce($1::text, ''))",
            "a.name collate \"C\", a.number"
        ),
    };
    let found = sqlx::query(listing)
        .bind(&page.after)
        .bind(filter.search.as_deref().map(|search| containing(&folded(search))))
        .bind(&filter.status)
        .bind(&filter.group)
        .bind(filter.parent.as_ref().map(AccountNumber::as_str))
        .bind(filter.disconnected)
        .bind(filter.open_event)
        .bind(i64::from(page.limit) + 1)
        .fetch_all(&store.pool)
        .await?;
    let accounts = found.iter().map(rows::account_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(accounts, page.limit, |account| account.number.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_taken_literally() {
        assert_eq!(containing(r"50%_a\b"), r"%50\%\_a\\b%");
    }
}
