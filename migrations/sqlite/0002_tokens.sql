-- Tokens, and writes that may be repeated. The PostgreSQL migration of the same number and name makes the same tables.

create table tokens (
    id         integer primary key,
    -- Whose it is, as the log names them; several tokens may have one owner.
    name       text not null check (length(name) between 1 and 64),
    role       text not null check (role in ('viewer', 'operator', 'approver', 'admin')),
    -- SHA-256. The token itself is shown once, when it is made, and kept nowhere.
    hash       blob not null unique check (length(hash) = 32),
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    created_by text not null,
    revoked_at text,
    revoked_by text,
    check ((revoked_at is null) = (revoked_by is null))
) strict;

-- Rule 4, for tokens too: the log names their owners. One is revoked, once, and else stays what it was made.
create trigger tokens_keep before delete on tokens
begin select raise(abort, 'disconnectd keeps all history: delete of tokens is refused'); end;
create trigger tokens_keep_replaced before insert on tokens
when exists (select 1 from tokens where id = new.id or hash = new.hash)
begin select raise(abort, 'disconnectd keeps all history: replace of tokens is refused'); end;
create trigger tokens_keep_made before update on tokens
when old.revoked_at is not null
     or (new.id, new.name, new.role, new.hash, new.created_at, new.created_by)
        is not (old.id, old.name, old.role, old.hash, old.created_at, old.created_by)
begin select raise(abort, 'disconnectd keeps all history: update of tokens is refused'); end;

-- Kept for a day, and no history: these are deleted.
create table idempotency_keys (
    -- Keys of different owners never meet.
    owner       text not null,
    key         text not null check (length(key) between 1 and 255),
    -- SHA-256 of the call, so that another call does not get this one's answer.
    fingerprint blob not null check (length(fingerprint) = 32),
    begun_at    text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    -- The answer, once there is one. The headers are JSON: an array of pairs.
    status      integer,
    headers     text,
    body        text,
    primary key (owner, key),
    check ((status is null) = (headers is null) and (status is null) = (body is null))
) strict;
-- What is old is forgotten.
create index idempotency_keys_begun on idempotency_keys (begun_at);
