-- What the lists search in, folded once and not for each search: a third of the time where nothing is found.
alter table accounts
    add column searched text not null generated always as (lower(number) || E'\n' || lower(name)) stored;
alter table serviceable_addresses
    add column searched text not null generated always as (lower(address)) stored;
