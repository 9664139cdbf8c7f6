-- Who is at the addresses that a search finds. Before any lock on accounts, as a worker's batch writes them.
create index address_assignments_address on address_assignments (address_id) where assigned_until is null;

-- The lists' search finds few accounts among any number by their trigrams: without them it reads all accounts and all
-- addresses, some 0.4 s for a million. pg_trgm comes with PostgreSQL, in some distributions by a package of its own; whoever
-- owns a database may create it, where a service does not forbid it. Searching works without: see README, At scale.
do $$
declare
    in_schema name;
begin
    create extension if not exists pg_trgm;
    select n.nspname into in_schema
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm';
    execute format('create index if not exists accounts_searched on accounts using gin (searched %I.gin_trgm_ops)',
                   in_schema);
    execute format('create index if not exists serviceable_addresses_searched on serviceable_addresses
                    using gin (searched %I.gin_trgm_ops)', in_schema);
exception
    -- What may be otherwise the next time, or must not be passed over.
    when lock_not_available or deadlock_detected or insufficient_resources or unique_violation or io_error
         or data_corrupted or index_corrupted then
        raise;
    when others then
        raise notice 'no index for searching: %', sqlerrm;
end $$;
