-- The lists' search finds its few accounts among any number by their trigrams: without them it reads all accounts and all
-- addresses, some 0.4 s for a million. pg_trgm comes with PostgreSQL, in some distributions by a package of its own; whoever
-- owns a database may create it. Where it can't be, searching works without, and the same two statements may be run later.
do $$
declare
    in_schema name;
begin
    begin
        create extension if not exists pg_trgm;
    exception when insufficient_privilege or feature_not_supported or undefined_file then
        raise notice 'no index for searching: pg_trgm can''t be created (%)', sqlerrm;
    end;
    select n.nspname into in_schema
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
    if found then
        execute format('create index accounts_searched on accounts using gin (searched %I.gin_trgm_ops)', in_schema);
        execute format('create index serviceable_addresses_searched on serviceable_addresses
                        using gin (searched %I.gin_trgm_ops)', in_schema);
    end if;
end $$;

-- Who is at the addresses that a search finds.
create index address_assignments_address on address_assignments (address_id) where assigned_until is null;
