-- disconnectd, from the beginning. The SQLite migration of the same number and name makes the same tables.
-- Money is whole minor units of the account's currency.

create table installation (
    singleton  boolean primary key default true check (singleton),
    id         text not null default substr(replace(gen_random_uuid()::text, '-', ''), 1, 16),
    is_demo    boolean not null default false,
    created_at timestamptz not null default now()
);
insert into installation default values;

create table settings (
    key   text primary key,
    value text not null
);
insert into settings (key, value) values
    ('disconnect_status', 'Inactive'),
    ('company_zone', 'UTC'),
    ('cutoff_time', '00:00'),
    ('currency', 'USD');

create table account_statuses (
    id                bigint generated always as identity primary key,
    name              text not null unique check (length(name) between 1 and 64),
    activates_account boolean not null
);
insert into account_statuses (name, activates_account) values ('Lead', false), ('Active', true), ('Inactive', false);

create table accounts (
    id               bigint generated always as identity primary key,
    -- Ordered by its bytes, as in SQLite: lists page alike in both engines, whatever the server's locale.
    number           text collate "C" not null unique check (length(number) between 1 and 64),
    name             text not null,
    status_id        bigint not null references account_statuses,
    parent_id        bigint references accounts check (parent_id <> id),
    currency         text not null check (length(currency) = 3),
    zone             text,
    email            text,
    mailing_address  text,
    -- A fact, not a status: set once, by the disconnect, and never cleared.
    disconnected_at  timestamptz,
    -- The status until then, so that an import can tell a repeated row from a changed one.
    status_before_id bigint references account_statuses,
    -- The parent that a person unlinked it from; an import does not link it again.
    unlinked_from_id bigint references accounts,
    created_at       timestamptz not null default now()
);
create index accounts_parent on accounts (parent_id) where parent_id is not null;
-- The disconnect is the only hot update; leave room for it in the page.
alter table accounts set (fillfactor = 85);

create table groups (
    id   bigint generated always as identity primary key,
    name text not null unique check (length(name) > 0)
);
create table account_groups (
    account_id bigint not null references accounts,
    group_id   bigint not null references groups,
    primary key (account_id, group_id)
);
create index account_groups_group on account_groups (group_id, account_id);

create table serviceable_addresses (
    id      bigint generated always as identity primary key,
    address text not null unique check (length(address) > 0)
);
create table address_assignments (
    id             bigint generated always as identity primary key,
    account_id     bigint not null references accounts,
    address_id     bigint not null references serviceable_addresses,
    assigned_from  timestamptz not null,
    assigned_until timestamptz
);
-- Several accounts may share an address; an account has at most one open assignment.
create unique index address_assignments_open on address_assignments (account_id) where assigned_until is null;
create index address_assignments_history on address_assignments (account_id, id);

create table disconnect_events (
    id             bigint generated always as identity primary key,
    account_id     bigint not null references accounts,
    state          text not null check (state in ('scheduled', 'queued', 'completed', 'failed', 'cancelled')),
    outcome        text check (outcome in ('disconnected', 'already_disconnected', 'no_longer_eligible')),
    -- 0: single disconnects. Others: a campaign each.
    lane           bigint not null default 0,
    -- The business instant; it prices the disconnect.
    due_at         timestamptz not null check (isfinite(due_at)),
    planned_for    text,
    zone           text,
    -- When the machine must look again.
    next_at        timestamptz,
    attempt        integer not null default 0,
    -- Claims since it was last scheduled, for the redispatch backoff.
    dispatches     integer not null default 0,
    failures       integer not null default 0,
    failures_max   integer not null check (failures_max > 0),
    last_error     text,
    reason         text,
    requested_by   text not null,
    requested_from text not null,
    created_at     timestamptz not null default now(),
    ended_at       timestamptz,
    -- Rule 7: every open event has a finite next_at, and nothing else has one.
    check ((state in ('scheduled', 'queued')) = (next_at is not null)),
    check (isfinite(next_at)),
    check ((state = 'completed') = (outcome is not null)),
    check ((state in ('scheduled', 'queued')) = (ended_at is null))
);
-- Rule 6: at most one open event per account.
create unique index disconnect_events_open on disconnect_events (account_id) where state in ('scheduled', 'queued');
-- What the scheduler claims from.
create index disconnect_events_lane on disconnect_events (lane, next_at) where state in ('scheduled', 'queued');
create index disconnect_events_account on disconnect_events (account_id, id);
create index disconnect_events_state on disconnect_events (state, id);
alter table disconnect_events set (fillfactor = 70);

create sequence invoice_numbers;
create table invoices (
    id         bigint generated always as identity primary key,
    number     bigint not null unique default nextval('invoice_numbers'),
    kind       text not null check (kind in ('regular', 'final')),
    account_id bigint not null references accounts,
    -- The second lock on the door of "exactly once".
    event_id   bigint unique references disconnect_events,
    currency   text not null check (length(currency) = 3),
    amount     bigint not null,
    tax        bigint not null,
    total      bigint not null check (total = amount + tax),
    issued_at  timestamptz not null,
    check ((kind = 'final') = (event_id is not null))
);
create index invoices_account on invoices (account_id, id);

create table debits (
    id          bigint generated always as identity primary key,
    account_id  bigint not null references accounts,
    reference   text not null check (length(reference) > 0),
    description text not null,
    amount      bigint not null check (amount >= 0),
    tax         bigint not null check (tax >= 0),
    charged_on  date not null check (isfinite(charged_on)),
    invoice_id  bigint references invoices,
    created_at  timestamptz not null default clock_timestamp(),
    unique (account_id, reference)
);
create index debits_uninvoiced on debits (account_id) where invoice_id is null;
alter table debits set (fillfactor = 85);

create table invoice_lines (
    invoice_id  bigint not null references invoices,
    position    integer not null,
    debit_id    bigint not null unique references debits,
    description text not null,
    charged_on  date not null,
    amount      bigint not null,
    tax         bigint not null,
    total       bigint not null check (total = amount + tax),
    primary key (invoice_id, position)
);

create table account_log (
    id         bigint generated always as identity primary key,
    account_id bigint not null references accounts,
    at         timestamptz not null,
    kind       text not null,
    message    text not null,
    actor      text not null,
    source     text not null,
    event_id   bigint references disconnect_events,
    reason     text
);
create index account_log_account on account_log (account_id, id);

-- Rule 4: nothing is deleted, and what was issued or logged is not changed. The database itself refuses.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'disconnectd keeps all history: % of % is refused', lower(tg_op), tg_table_name
        using errcode = 'restrict_violation';
end $$;

create trigger accounts_keep before delete on accounts for each row execute function refuse_change();
create trigger invoices_keep before delete or update on invoices for each row execute function refuse_change();
create trigger invoice_lines_keep before delete or update on invoice_lines for each row execute function refuse_change();
create trigger debits_keep before delete on debits for each row execute function refuse_change();
create trigger account_log_keep before delete or update on account_log for each row execute function refuse_change();
create trigger address_assignments_keep before delete on address_assignments
    for each row execute function refuse_change();

create trigger accounts_keep_all before truncate on accounts for each statement execute function refuse_change();
create trigger invoices_keep_all before truncate on invoices for each statement execute function refuse_change();
create trigger invoice_lines_keep_all before truncate on invoice_lines
    for each statement execute function refuse_change();
create trigger debits_keep_all before truncate on debits for each statement execute function refuse_change();
create trigger account_log_keep_all before truncate on account_log for each statement execute function refuse_change();
create trigger address_assignments_keep_all before truncate on address_assignments
    for each statement execute function refuse_change();

-- A debit that was invoiced is not touched any more; an uninvoiced one stays with its account, under its reference.
create trigger debits_keep_invoiced before update on debits for each row
    when (old.invoice_id is not null or new.account_id <> old.account_id or new.id <> old.id
          or new.reference <> old.reference)
    execute function refuse_change();

-- A disconnect is not taken back, and an account keeps its keys.
create trigger accounts_keep_disconnected before update on accounts for each row
    when (new.id <> old.id or new.number <> old.number
          or (old.disconnected_at is not null and new.disconnected_at is distinct from old.disconnected_at))
    execute function refuse_change();

-- The lines of an invoice come in one statement and add up to it; so it is closed for later ones. Planned each time: a
-- plan from when there were hardly any lines would read all of them for each invoice.
create function refuse_unbalanced() returns trigger language plpgsql set plan_cache_mode = force_custom_plan as $$
declare
    refused bigint;
begin
    select i.number into refused
      from (select distinct invoice_id from new_rows) n
      join invoices i on i.id = n.invoice_id
     where (select (sum(l.amount), sum(l.tax), sum(l.total)) is distinct from (i.amount, i.tax, i.total)
              from invoice_lines l where l.invoice_id = i.id)
     limit 1;
    if found then
        raise exception 'the lines of invoice % would not add up to it: a new row in invoice_lines is refused', refused
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
create trigger zz_invoice_lines_balance after insert on invoice_lines
    referencing new table as new_rows for each statement execute function refuse_unbalanced();

-- Rule 3: a later debit, and a later address, is refused, whoever writes it. Once per statement, after the foreign
-- keys were checked: that check waits for the account's lock, so this one sees a disconnect that was under way.
create function refuse_after_disconnect() returns trigger language plpgsql as $$
declare
    refused text;
begin
    select a.number into refused
      from new_rows n join accounts a on a.id = n.account_id
     where a.disconnected_at is not null
     limit 1;
    if found then
        raise exception 'account % is disconnected: a new row in % is refused', refused, tg_table_name
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
create trigger zz_debits_refused after insert on debits
    referencing new table as new_rows for each statement execute function refuse_after_disconnect();
create trigger zz_address_assignments_refused after insert on address_assignments
    referencing new table as new_rows for each statement execute function refuse_after_disconnect();
