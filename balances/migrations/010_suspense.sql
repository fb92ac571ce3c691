-- Use that was reported and not charged waits here until a person charges it or writes it off (charging.md section 2).
-- One row for each usage record that says so; of nobody known, one for each session and line, which grows.
CREATE TABLE suspense (
    id              text     PRIMARY KEY,            -- "<shard>-<epoch>-<n>-<line>" of the usage record it began with
    account         text,                            -- NULL: nobody is known to have used it
    subscriber      text     NOT NULL,
    session         text     NOT NULL,
    service         text     NOT NULL,
    request_key     text     NOT NULL,               -- of the request it began with
    rating_group    bigint   NOT NULL,
    service_id      bigint   NOT NULL,
    unit            smallint NOT NULL,
    amount          numeric  NOT NULL,               -- may grow past what one record can say
    currency        text     NOT NULL,               -- of an amount of money, and of what is charged; XXX: not known
    set_aside       smallint NOT NULL,               -- Suspense in balances/structs
    reports         bigint   NOT NULL DEFAULT 1,     -- usage records that it is the sum of
    at_ms           bigint   NOT NULL,               -- of the first use
    last_ms         bigint   NOT NULL,               -- of the last
    inputs          jsonb,                           -- what rating could have looked at
    state           text     NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'charging', 'charged', 'written-off')),
    -- What a person decided. `charging` is decided, and its entry not copied yet: who finds it so posts it again, under
    -- the key of the row.
    payer           text,
    charge          bigint,                          -- micro-units
    decided_by      text,
    decided_ms      bigint,
    reason          text,
    request         text UNIQUE,                     -- caller and Idempotency-Key of the decision
    fingerprint     text,
    seq             bigint                           -- entry of the payer
);
CREATE INDEX suspense_order ON suspense (at_ms, id);
CREATE INDEX suspense_account ON suspense (account, at_ms, id);
CREATE INDEX suspense_session ON suspense (session);
CREATE INDEX suspense_charging ON suspense (decided_ms) WHERE state = 'charging';
-- The row that grows.
CREATE UNIQUE INDEX suspense_nobody ON suspense (session, service, rating_group, service_id, unit)
    WHERE account IS NULL AND state = 'open';
