-- Two roles for disconnectd on PostgreSQL: disconnectd_owner has the tables and migrates them; disconnectd is what the
-- program runs with, and can neither change the schema nor delete what is kept.
--
-- As a superuser, in disconnectd's database: before the first `disconnectd migrate`, and again after each one, since a
-- migration may bring tables. It may be run any number of times. See docs/postgresql-roles.md.

do $$
declare
    role text;
begin
    foreach role in array array['disconnectd_owner', 'disconnectd'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I login', role); -- set the passwords afterwards: \password disconnectd
        end if;
    end loop;

    -- Temporary tables are where an import is looked at before it is written.
    execute format('grant connect, temporary on database %I to disconnectd_owner, disconnectd', current_database());
    -- PostgreSQL 15 begins so; a database that comes from an earlier version does not.
    revoke create on schema public from public, disconnectd;
    grant usage, create on schema public to disconnectd_owner;
    grant usage on schema public to disconnectd;
end $$;

-- What the program may do with each table. `select` it may everywhere. `delete` it may where no history is kept.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('_sqlx_migrations', ''),
            ('installation', ''),
            -- Written once.
            ('account_log', 'insert'),
            ('account_statuses', 'insert'),
            ('campaign_log', 'insert'),
            ('groups', 'insert'),
            ('invoice_lines', 'insert'),
            ('invoices', 'insert'),
            ('archived_disconnect_events', 'insert'),
            -- A view.
            ('all_disconnect_events', ''),
            -- What becomes of them is written too; triggers keep what must stay.
            ('accounts', 'insert, update'),
            ('address_assignments', 'insert, update'),
            ('campaign_templates', 'insert, update'),
            ('campaigns', 'insert, update'),
            ('debits', 'insert, update'),
            ('family_decisions', 'insert, update'),
            ('serviceable_addresses', 'insert, update'),
            ('settings', 'insert, update'),
            ('tokens', 'insert, update'),
            ('users', 'insert, update'),
            -- A trigger lets an event be deleted only as it goes to the archive.
            ('disconnect_events', 'insert, update, delete'),
            -- Who is in a group now; the lists of campaigns that have not begun, and sums that are folded into one.
            ('account_groups', 'insert, update, delete'),
            ('campaign_members', 'insert, update, delete'),
            ('campaign_tallies', 'insert, update, delete'),
            -- They end by themselves.
            ('console_sessions', 'insert, update, delete'),
            ('idempotency_keys', 'insert, update, delete'),
            ('sign_in_attempts', 'insert, update, delete'),
            ('sign_in_links', 'insert, update, delete')
        ) as of_tables (name, writes)
        where to_regclass('public.' || name) is not null
    loop
        execute format('revoke all on public.%I from public, disconnectd', wanted.name);
        execute format('grant select on public.%I to disconnectd', wanted.name);
        if wanted.writes <> '' then
            execute format('grant %s on public.%I to disconnectd', wanted.writes, wanted.name);
        end if;
    end loop;
    if to_regclass('public.invoice_numbers') is not null then
        grant usage on sequence public.invoice_numbers to disconnectd;
    end if;
end $$;

-- What a search of accounts goes by. The migration makes it where its role may, which that of the owner here may not: the
-- first time with all tables there, this locks accounts and addresses for some seconds a million.
do $$
declare
    in_schema name;
begin
    if not exists (select from pg_available_extensions where name = 'pg_trgm') then
        return; -- searching works without
    end if;
    create extension if not exists pg_trgm;
    select n.nspname into in_schema
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
    if to_regclass('public.accounts_unfolded') is not null and to_regclass('public.accounts_searched') is null then
        execute format('create index accounts_searched on public.accounts using gin (searched %I.gin_trgm_ops)', in_schema);
    end if;
    if to_regclass('public.serviceable_addresses_unfolded') is not null
       and to_regclass('public.serviceable_addresses_searched') is null then
        execute format('create index serviceable_addresses_searched on public.serviceable_addresses
                        using gin (searched %I.gin_trgm_ops)', in_schema);
    end if;
end $$;
