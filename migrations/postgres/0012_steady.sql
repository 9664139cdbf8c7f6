-- What a batch of disconnects does costs the same however many came before it.

-- A session keeps the plan of a trigger's statement, and always does of one without parameters, whatever plan_cache_mode
-- says. One from when there were few invoices went through all of them with each batch: half a second at 84,000, until
-- autovacuum looked at the table. So the way is written out: from each new row by the key.
create or replace function refuse_unbalanced() returns trigger language plpgsql as $$
declare
    refused bigint;
begin
    select i.number into refused
      from (select distinct invoice_id from new_rows) n
     cross join lateral (select id, number, amount, tax, total from invoices where id = n.invoice_id offset 0) i
     cross join lateral (select sum(amount) as amount, sum(tax) as tax, sum(total) as total
                           from invoice_lines where invoice_id = i.id offset 0) l
     where (l.amount, l.tax, l.total) is distinct from (i.amount, i.tax, i.total)
     limit 1;
    if found then
        raise exception 'the lines of invoice % would not add up to it: a new row in invoice_lines is refused', refused
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

create or replace function refuse_after_disconnect() returns trigger language plpgsql as $$
declare
    refused text;
begin
    select a.number into refused
      from (select distinct account_id from new_rows) n
     cross join lateral (select number, disconnected_at from accounts where id = n.account_id offset 0) a
     where a.disconnected_at is not null
     limit 1;
    if found then
        raise exception 'account % is disconnected: a new row in % is refused', refused, tg_table_name
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

-- A disconnect changes no column of an account that an index has, nor the enlisting one of a member. With room for another
-- version of each row in its page, no index is written; with room for a part of them most were, that of trigrams too.
alter table accounts set (fillfactor = 50);
alter table campaign_members set (fillfactor = 50);

-- Who is disconnected and has an open event nevertheless: one that failed and is tried again since another event came first.
-- There are hardly any, so that the list of accounts with an open event passes over all others who are disconnected.
create index disconnect_events_retried on disconnect_events (account_id)
    where state in ('scheduled', 'queued') and last_error is not null;
