-- The lasting record of the live store: what was done (calls), what was used (usage_records), what it cost
-- (ledger_entries), and how far the copy has come (shards). Columns that later steps will fill are here from day one:
-- an append-only table is not rewritten.

CREATE TABLE store (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    format       integer NOT NULL,              -- of these tables and of the blobs in them
    shards       integer NOT NULL,              -- fixed for ever: an account's shard is a hash modulo this
    config_epoch bigint  NOT NULL DEFAULT 0     -- failover epoch of the newest master opened; an older one is refused
);
INSERT INTO store (format, shards) VALUES (2, 256);

-- One row per shard, updated with every batch: room on the page keeps the updates off the index.
CREATE TABLE shards (
    shard         smallint PRIMARY KEY,
    epoch         bigint  NOT NULL DEFAULT 0,   -- of the newest opening, finished or not: nothing older commits
    opened_epoch  bigint  NOT NULL DEFAULT 0,   -- of the newest finished one
    replid        text    NOT NULL DEFAULT '',  -- the history (master_replid) it opened
    cursor_epoch  bigint  NOT NULL DEFAULT 0,   -- last record of the stream that is in these tables
    cursor_n      bigint  NOT NULL DEFAULT -1,
    position      bigint  NOT NULL DEFAULT 0,   -- rows written to `calls` so far
    trimmed_epoch bigint  NOT NULL DEFAULT 0,   -- first record the stream still had when it was last trimmed
    trimmed_n     bigint  NOT NULL DEFAULT -1,
    stopped       text    NOT NULL DEFAULT ''   -- why this shard is not copied any more, for a person to look at
) WITH (fillfactor = 30);
INSERT INTO shards (shard) SELECT generate_series(0, (SELECT shards FROM store) - 1);

-- One row per record of the stream. Kept 30 days; the last of each account and of each live session for ever, because
-- they are what Redis is restored from.
CREATE TABLE calls (
    shard            smallint NOT NULL,
    epoch            bigint   NOT NULL,
    n                bigint   NOT NULL,
    -- Order of writing inside the shard. (epoch, n) orders the records of one stream, but not against a snapshot that
    -- an opening took: under an old pass records of the older epoch may follow it (found by tests/sim/shard_model.py).
    position         bigint   NOT NULL,
    account          text     NOT NULL,
    session          text     NOT NULL,         -- '' for none; longer than 400 characters: shortened, see record.fit
    kind             text     NOT NULL,
    phase            smallint NOT NULL,
    subscriber       text     NOT NULL,
    service          text     NOT NULL,
    request_key      text     NOT NULL,
    fingerprint      text     NOT NULL,
    end_to_end       bigint   NOT NULL,
    at_ms            bigint   NOT NULL,
    event_ms         bigint   NOT NULL,
    actor            text,
    reason           text,
    reference        text,
    threshold_events        text[],                    -- thresholds crossed: jobs start from here, not from the stream
    account_state    bytea,                     -- packed Account after the call
    session_state    bytea,                     -- packed Session after the call
    session_until_ms bigint,                    -- when that session is forgotten; 0 while it is open
    opens            boolean  NOT NULL,         -- the session began with this call
    once_key         text,
    once_state       bytea,                     -- packed Once after the call
    once_until_ms    bigint,
    refund_of        text,                      -- once_key of the event this call refunded
    refund_state     bytea,                     -- packed Once of that event after the refund
    PRIMARY KEY (shard, epoch, n)               -- a record copied twice is refused here
);
-- Restore: the latest call of an account, and of each of its sessions.
CREATE INDEX calls_account ON calls (account, session, position);
-- A request that names only its session.
CREATE INDEX calls_session ON calls (session) WHERE opens;
-- An event or posting repeated after Redis has forgotten it. Not unique: a refusal is decided anew, and a client that
-- counts from 1 again is charged as new, both under the same key. `ocs ledger verify` looks for real doubles.
CREATE INDEX calls_once ON calls (account, once_key) WHERE once_key IS NOT NULL;
CREATE INDEX calls_refund ON calls (account, refund_of) WHERE refund_of IS NOT NULL;
-- The daily purge.
CREATE INDEX calls_at ON calls USING brin (at_ms);

-- One row per settled piece, event and refusal, also at price 0. For ever, so nothing in it refers to `calls`.
CREATE TABLE usage_records (
    account      text     NOT NULL,
    epoch        bigint   NOT NULL,
    n            bigint   NOT NULL,
    line         smallint NOT NULL,             -- (account, epoch, n, line) is the usage reference
    shard        smallint NOT NULL,
    currency     text     NOT NULL,
    subscriber   text     NOT NULL,
    session      text     NOT NULL,
    service      text     NOT NULL,
    request_key  text     NOT NULL,
    phase        smallint NOT NULL,
    at_ms        bigint   NOT NULL,
    rating_group bigint   NOT NULL,
    service_id   bigint   NOT NULL,
    unit         smallint NOT NULL,
    used         bigint   NOT NULL,
    suspense     bigint   NOT NULL,
    total        bigint   NOT NULL,
    cost         bigint   NOT NULL,
    granted      bigint   NOT NULL,
    result       smallint NOT NULL,
    flags        integer  NOT NULL,
    tag          text     NOT NULL,             -- tariff and version that priced it
    inputs       jsonb,                         -- what rating looked at
    PRIMARY KEY (account, epoch, n, line)
);

-- One row per change of one bucket: `amount` leaves counter_account and enters the bucket. For ever.
CREATE TABLE ledger_entries (
    account          text     NOT NULL,
    seq              bigint   NOT NULL,         -- 1, 2, 3 ... for each account
    shard            smallint NOT NULL,
    epoch            bigint   NOT NULL,
    n                bigint   NOT NULL,
    bucket           bigint   NOT NULL,
    kind             smallint NOT NULL,         -- of the bucket: 0 money (micro-units), 1 octets, 2 seconds, 3 units
    amount           bigint   NOT NULL,
    after            bigint   NOT NULL,         -- balance of the bucket after it
    currency         text     NOT NULL,
    counter_account  text     NOT NULL,
    why              text     NOT NULL,
    at_ms            bigint   NOT NULL,
    request_key      text     NOT NULL,
    usage_line       smallint,                  -- usage_records (account, epoch, n, usage_line)
    tags             text[],
    actor            text,
    reason           text,
    reference        text,
    net              bigint,
    tax              bigint,
    currency_rate    numeric,
    original_account text,                      -- the entry this one takes back
    original_seq     bigint,
    PRIMARY KEY (account, seq)                  -- money booked twice is refused here
);

-- Both legs of every posting.
CREATE VIEW ledger_legs AS
    SELECT account, seq, 'account' AS leg, account AS book, bucket, kind, currency, amount, at_ms, why
      FROM ledger_entries
    UNION ALL
    SELECT account, seq, 'counter' AS leg, counter_account AS book, NULL AS bucket, kind, currency, -amount, at_ms, why
      FROM ledger_entries;

-- Records Redis had and PostgreSQL never got, found when a shard was opened that had gone back, or apart.
CREATE TABLE orphaned (
    shard        smallint NOT NULL,
    epoch        bigint   NOT NULL,
    n            bigint   NOT NULL,
    account      text     NOT NULL,
    record       bytea    NOT NULL,             -- packed Record
    opened_epoch bigint   NOT NULL,             -- the opening that found it
    found_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, epoch, n)
);
