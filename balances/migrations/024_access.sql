-- Who may do what over the API (docs/access.md): tokens, what a caller moved in a day, requests that wait for a second person.

-- Tokens by their hash: a copy of this table opens nothing. A secret has 256 bits of randomness, so one round of SHA-256 is enough.
CREATE TABLE tokens (
    id           text   PRIMARY KEY,              -- stands in the token too
    caller       text   NOT NULL,                 -- whom it is given to; actor of what is done with it
    description  text   NOT NULL,
    roles        text[] NOT NULL,                 -- names; what they allow says the configuration
    scopes       text[] NOT NULL,                 -- patterns of permissions it is narrowed to; empty: all of its roles
    digest       bytea  NOT NULL,
    old_digest   bytea,                           -- opens too, until old_until_ms
    old_until_ms bigint NOT NULL DEFAULT 0,
    expires_ms   bigint NOT NULL,                 -- 0: never
    created_ms   bigint NOT NULL,
    created_by   text   NOT NULL,
    revoked_ms   bigint NOT NULL DEFAULT 0,       -- 0: it is not
    revoked_by   text   NOT NULL DEFAULT '',
    last_ms      bigint NOT NULL DEFAULT 0,       -- it was used, to the minute; 0: never
    last_address text   NOT NULL DEFAULT ''
);

-- What callers with a limit for the day have moved: written before it is posted, taken back when that is refused.
CREATE TABLE moved_by_day (
    caller     text   NOT NULL,
    permission text   NOT NULL,
    unit       text   NOT NULL,                   -- currency, or octets, seconds, units
    day        date   NOT NULL,                   -- UTC
    account    text   NOT NULL,
    key        text   NOT NULL,                   -- the same again counts once
    amount     bigint NOT NULL,                   -- given or taken: never below zero
    PRIMARY KEY (caller, permission, unit, day, account, key)
);

CREATE TABLE approvals (
    id         text   PRIMARY KEY,
    caller     text   NOT NULL,
    roles      text[] NOT NULL,                   -- of the caller when it was asked
    scopes     text[] NOT NULL,
    address    text   NOT NULL,
    permission text   NOT NULL,
    operation  text   NOT NULL,                   -- name of the operation
    target     text   NOT NULL,                   -- method and path, for people
    request    bytea  NOT NULL,                   -- as it was sent
    key        text   NOT NULL,                   -- Idempotency-Key; '' where none is needed
    fingerprint text  NOT NULL,
    asked_ms   bigint NOT NULL,
    expires_ms bigint NOT NULL,
    state      text   NOT NULL DEFAULT 'pending'
               CHECK (state IN ('pending', 'approved', 'done', 'failed', 'rejected', 'expired')),
    decided_by text   NOT NULL DEFAULT '',
    decided_ms bigint NOT NULL DEFAULT 0,
    reason     text   NOT NULL DEFAULT '',
    status     integer NOT NULL DEFAULT 0,        -- what it was answered with, once it was done
    answer     bytea
);
CREATE UNIQUE INDEX approvals_key ON approvals (caller, key) WHERE key <> '';
CREATE INDEX approvals_state ON approvals (state, asked_ms, id);
