-- Closed periods of the ledger: months of posting time (UTC) of which nothing changes any more, with what each account had at
-- their end and what came from and went to each counter-account. `ocs ledger verify` holds them against the entries.
CREATE TABLE ledger_periods (
    until_ms  bigint PRIMARY KEY,               -- its end; the next one begins there
    from_ms   bigint NOT NULL,
    month     text   NOT NULL UNIQUE,           -- 2026-10
    closed_ms bigint NOT NULL,
    closed_by text   NOT NULL,
    entries   bigint NOT NULL,
    accounts  bigint NOT NULL                   -- that have entries in it
);

-- One row per account and bucket that moved in the period.
CREATE TABLE ledger_closings (
    account  text     NOT NULL,
    bucket   bigint   NOT NULL,
    until_ms bigint   NOT NULL,                 -- of ledger_periods
    kind     smallint NOT NULL,
    currency text     NOT NULL,
    seq      bigint   NOT NULL,                 -- of the bucket's last entry in the period
    entries  bigint   NOT NULL,
    amount   bigint   NOT NULL,                 -- sum of these entries
    after    bigint   NOT NULL,                 -- what the bucket had at the end: the closing before, and the amount
    PRIMARY KEY (account, bucket, until_ms)
);

CREATE TABLE ledger_closed_books (
    until_ms bigint   NOT NULL,
    kind     smallint NOT NULL,
    currency text     NOT NULL,
    book     text     NOT NULL,                 -- counter-account
    amount   bigint   NOT NULL,
    PRIMARY KEY (until_ms, kind, currency, book)
);
