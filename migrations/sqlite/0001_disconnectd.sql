-- disconnectd, from the beginning. The PostgreSQL migration of the same number and name makes the same tables.
-- Money is whole minor units of the account's currency. Instants are text of one width, so that they sort:
-- 2026-12-01T09:00:00.000000Z. Dates are text: 2026-12-01.

create table installation (
    singleton  integer primary key default 1 check (singleton = 1),
    id         text not null,
    is_demo    integer not null default 0,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
) strict;
insert into installation (id) values (lower(hex(randomblob(8))));

create table settings (
    key   text primary key,
    value text not null
) strict;
insert into settings (key, value) values
    ('disconnect_status', 'Inactive'),
    ('company_zone', 'UTC'),
    ('cutoff_time', '00:00'),
    ('currency', 'USD');

create table account_statuses (
    id                integer primary key,
    name              text not null unique check (length(name) between 1 and 64),
    activates_account integer not null check (activates_account in (0, 1))
) strict;
insert into account_statuses (name, activates_account) values ('Lead', 0), ('Active', 1), ('Inactive', 0);

create table accounts (
    id               integer primary key,
    number           text not null unique check (length(number) between 1 and 64),
    name             text not null,
    status_id        integer not null references account_statuses,
    parent_id        integer references accounts check (parent_id <> id),
    currency         text not null check (length(currency) = 3),
    zone             text,
    email            text,
    mailing_address  text,
    -- A fact, not a status: set once, by the disconnect, and never cleared.
    disconnected_at  text,
    -- The status until then, so that an import can tell a repeated row from a changed one.
    status_before_id integer references account_statuses,
    -- The parent that a person unlinked it from; an import does not link it again.
    unlinked_from_id integer references accounts,
    created_at       text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
) strict;
create index accounts_parent on accounts (parent_id) where parent_id is not null;

create table groups (
    id   integer primary key,
    name text not null unique check (length(name) > 0)
) strict;
create table account_groups (
    account_id integer not null references accounts,
    group_id   integer not null references groups,
    primary key (account_id, group_id)
) strict, without rowid;
create index account_groups_group on account_groups (group_id, account_id);

create table serviceable_addresses (
    id      integer primary key,
    address text not null unique check (length(address) > 0)
) strict;
create table address_assignments (
    id             integer primary key,
    account_id     integer not null references accounts,
    address_id     integer not null references serviceable_addresses,
    assigned_from  text not null,
    assigned_until text
) strict;
-- Several accounts may share an address; an account has at most one open assignment.
create unique index address_assignments_open on address_assignments (account_id) where assigned_until is null;
create index address_assignments_history on address_assignments (account_id, id);

create table disconnect_events (
    id             integer primary key autoincrement,
    account_id     integer not null references accounts,
    state          text not null check (state in ('scheduled', 'queued', 'completed', 'failed', 'cancelled')),
    outcome        text check (outcome in ('disconnected', 'already_disconnected', 'no_longer_eligible')),
    -- 0: single disconnects. Others: a campaign each.
    lane           integer not null default 0,
    -- The business instant; it prices the disconnect.
    due_at         text not null,
    planned_for    text,
    zone           text,
    -- When the machine must look again.
    next_at        text,
    attempt        integer not null default 0,
    -- Claims since it was last scheduled, for the redispatch backoff.
    dispatches     integer not null default 0,
    failures       integer not null default 0,
    failures_max   integer not null check (failures_max > 0),
    last_error     text,
    reason         text,
    requested_by   text not null,
    requested_from text not null,
    created_at     text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    ended_at       text,
    -- Rule 7: every open event has a next_at, and nothing else has one.
    check ((state in ('scheduled', 'queued')) = (next_at is not null)),
    check ((state = 'completed') = (outcome is not null)),
    check ((state in ('scheduled', 'queued')) = (ended_at is null))
) strict;
-- Rule 6: at most one open event per account.
create unique index disconnect_events_open on disconnect_events (account_id) where state in ('scheduled', 'queued');
-- What the scheduler claims from.
create index disconnect_events_lane on disconnect_events (lane, next_at) where state in ('scheduled', 'queued');
create index disconnect_events_account on disconnect_events (account_id, id);
create index disconnect_events_state on disconnect_events (state, id);

create table invoices (
    id         integer primary key autoincrement,
    -- The engine gives the next one inside the writing transaction, of which there is one at a time.
    number     integer not null unique,
    kind       text not null check (kind in ('regular', 'final')),
    account_id integer not null references accounts,
    -- The second lock on the door of "exactly once".
    event_id   integer unique references disconnect_events,
    currency   text not null check (length(currency) = 3),
    amount     integer not null,
    tax        integer not null,
    total      integer not null check (total = amount + tax),
    issued_at  text not null,
    check ((kind = 'final') = (event_id is not null))
) strict;
create index invoices_account on invoices (account_id, id);

create table debits (
    id          integer primary key,
    account_id  integer not null references accounts,
    reference   text not null check (length(reference) > 0),
    description text not null,
    amount      integer not null check (amount >= 0),
    tax         integer not null check (tax >= 0),
    charged_on  text not null,
    invoice_id  integer references invoices,
    created_at  text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    unique (account_id, reference)
) strict;
create index debits_uninvoiced on debits (account_id) where invoice_id is null;

create table invoice_lines (
    invoice_id  integer not null references invoices,
    position    integer not null,
    debit_id    integer not null unique references debits,
    description text not null,
    charged_on  text not null,
    amount      integer not null,
    tax         integer not null,
    total       integer not null check (total = amount + tax),
    primary key (invoice_id, position)
) strict, without rowid;

create table account_log (
    id         integer primary key autoincrement,
    account_id integer not null references accounts,
    at         text not null,
    kind       text not null,
    message    text not null,
    actor      text not null,
    source     text not null,
    event_id   integer references disconnect_events,
    reason     text
) strict;
create index account_log_account on account_log (account_id, id);

-- Rule 4: nothing is deleted, and what was issued or logged is not changed. The database itself refuses.
-- REPLACE deletes the row in its way without firing delete triggers, so an insert over an existing key is refused too,
-- and keys do not change (UPDATE OR REPLACE could move one row onto another).

create trigger accounts_keep before delete on accounts
begin select raise(abort, 'disconnectd keeps all history: delete of accounts is refused'); end;
create trigger accounts_keep_replaced before insert on accounts
when exists (select 1 from accounts where id = new.id or number = new.number)
begin select raise(abort, 'disconnectd keeps all history: replace of accounts is refused'); end;
create trigger accounts_keep_disconnected before update on accounts
when new.id <> old.id or new.number <> old.number
     or (old.disconnected_at is not null and new.disconnected_at is not old.disconnected_at)
begin select raise(abort, 'disconnectd keeps all history: update of accounts is refused'); end;

create trigger invoices_keep before delete on invoices
begin select raise(abort, 'disconnectd keeps all history: delete of invoices is refused'); end;
create trigger invoices_keep_issued before update on invoices
begin select raise(abort, 'disconnectd keeps all history: update of invoices is refused'); end;
create trigger invoices_keep_replaced before insert on invoices
when exists (select 1 from invoices where id = new.id or number = new.number or event_id = new.event_id)
begin select raise(abort, 'disconnectd keeps all history: replace of invoices is refused'); end;

create trigger invoice_lines_keep before delete on invoice_lines
begin select raise(abort, 'disconnectd keeps all history: delete of invoice_lines is refused'); end;
create trigger invoice_lines_keep_issued before update on invoice_lines
begin select raise(abort, 'disconnectd keeps all history: update of invoice_lines is refused'); end;
create trigger invoice_lines_keep_replaced before insert on invoice_lines
when exists (select 1 from invoice_lines
              where (invoice_id = new.invoice_id and position = new.position) or debit_id = new.debit_id)
begin select raise(abort, 'disconnectd keeps all history: replace of invoice_lines is refused'); end;

-- Its lines come to its total once it is issued, and then there is no more to add. A line over nothing can still come;
-- sum() fails where the lines overflow, which is as good.
create trigger invoice_lines_closed before insert on invoice_lines
when new.total + coalesce((select sum(total) from invoice_lines where invoice_id = new.invoice_id), 0)
     > (select total from invoices where id = new.invoice_id)
begin select raise(abort, 'the invoice is issued: a line beyond its total is refused'); end;

create trigger debits_keep before delete on debits
begin select raise(abort, 'disconnectd keeps all history: delete of debits is refused'); end;
create trigger debits_keep_replaced before insert on debits
when exists (select 1 from debits
              where id = new.id or (account_id = new.account_id and reference = new.reference))
begin select raise(abort, 'disconnectd keeps all history: replace of debits is refused'); end;
-- A debit that was invoiced is not touched any more; an uninvoiced one stays with its account, under its reference.
create trigger debits_keep_invoiced before update on debits
when old.invoice_id is not null or new.id <> old.id or new.account_id <> old.account_id
     or new.reference <> old.reference
begin select raise(abort, 'disconnectd keeps all history: update of debits is refused'); end;

create trigger account_log_keep before delete on account_log
begin select raise(abort, 'disconnectd keeps all history: delete of account_log is refused'); end;
create trigger account_log_keep_written before update on account_log
begin select raise(abort, 'disconnectd keeps all history: update of account_log is refused'); end;
create trigger account_log_keep_replaced before insert on account_log
when exists (select 1 from account_log where id = new.id)
begin select raise(abort, 'disconnectd keeps all history: replace of account_log is refused'); end;

create trigger address_assignments_keep before delete on address_assignments
begin select raise(abort, 'disconnectd keeps all history: delete of address_assignments is refused'); end;
create trigger address_assignments_keep_replaced before insert on address_assignments
when exists (select 1 from address_assignments
              where id = new.id
                 or (account_id = new.account_id and assigned_until is null and new.assigned_until is null))
begin select raise(abort, 'disconnectd keeps all history: replace of address_assignments is refused'); end;

-- Rule 3: a later debit, and a later address, is refused, whoever writes it.
create trigger debits_refused before insert on debits
when (select disconnected_at from accounts where id = new.account_id) is not null
begin select raise(abort, 'the account is disconnected: a new row in debits is refused'); end;
create trigger address_assignments_refused before insert on address_assignments
when (select disconnected_at from accounts where id = new.account_id) is not null
begin select raise(abort, 'the account is disconnected: a new row in address_assignments is refused'); end;
