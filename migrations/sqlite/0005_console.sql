-- People who sign in to the console. The PostgreSQL migration of the same number and name makes the same tables.

create table users (
    id            integer primary key,
    -- As the log names them.
    name          text not null unique check (length(name) between 1 and 64),
    role          text not null check (role in ('viewer', 'operator', 'approver', 'admin')),
    -- Argon2id, in PHC form. None: signs in by links alone.
    password_hash text,
    created_at    text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    created_by    text not null,
    disabled_at   text,
    disabled_by   text,
    check ((disabled_at is null) = (disabled_by is null))
) strict;

-- Rule 4, for users too: the log names them. One is disabled, never deleted, and nobody else gets its name.
create trigger users_keep before delete on users
begin select raise(abort, 'disconnectd keeps all history: delete of users is refused'); end;
create trigger users_keep_replaced before insert on users
when exists (select 1 from users where id = new.id or name = new.name)
begin select raise(abort, 'disconnectd keeps all history: replace of users is refused'); end;
create trigger users_keep_made before update on users
when (new.id, new.name, new.created_at, new.created_by) is not (old.id, old.name, old.created_at, old.created_by)
begin select raise(abort, 'disconnectd keeps all history: update of users is refused'); end;

-- No history: what has ended for long is deleted.
create table console_sessions (
    id           integer primary key,
    user_id      integer not null references users,
    -- SHA-256 of what the browser's cookie holds.
    hash         blob not null unique check (length(hash) = 32),
    browser      text,
    created_at   text not null,
    last_seen_at text not null,
    expires_at   text not null,
    revoked_at   text
) strict;
create index console_sessions_user on console_sessions (user_id) where revoked_at is null;
create index console_sessions_expired on console_sessions (expires_at);

-- Each good for one sign-in. No history either.
create table sign_in_links (
    id         integer primary key,
    user_id    integer not null references users,
    hash       blob not null unique check (length(hash) = 32),
    created_by text not null,
    expires_at text not null,
    used_at    text
) strict;
create index sign_in_links_expired on sign_in_links (expires_at);
create index sign_in_links_user on sign_in_links (user_id);

-- Sign-ins that came to nothing, for known and unknown names alike, so that neither can be told from the other.
create table sign_in_attempts (
    -- SHA-256 of the name.
    name_hash     blob primary key check (length(name_hash) = 32),
    failures      integer not null,
    last_at       text not null,
    -- Nobody is let try before.
    blocked_until text not null
) strict, without rowid;
create index sign_in_attempts_last on sign_in_attempts (last_at);

-- The list of accounts by name.
create index accounts_name on accounts (name, number);
