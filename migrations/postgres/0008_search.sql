-- What the lists search in, folded by the program as it is written: the database folds by its own locale, and once for
-- each search. Rows from before are folded when the migration is done; until then they are found by the indexes.
alter table accounts add column searched text;
create index accounts_unfolded on accounts (id) where searched is null;
alter table serviceable_addresses add column searched text;
create index serviceable_addresses_unfolded on serviceable_addresses (id) where searched is null;
