-- What the stores go on from, beside the big tables: an account and a session as their last call left them, and the answer
-- of whatever is done once. Written in the transaction that copies the records. Writers of before fail from here on at the
-- columns that `calls` loses, and so do their restores: neither may go by what stands still there.

-- One row per account, for ever. What has come to zero is not among `afters`.
CREATE TABLE account_heads (
    account text     PRIMARY KEY,
    shard   smallint NOT NULL,
    seq     bigint   NOT NULL,                  -- of its last entry; 0 before the first
    afters  jsonb    NOT NULL,                  -- bucket -> balance after its last entry
    state   bytea                               -- packed Account after its last call
) WITH (fillfactor = 70);

-- One row per session, until 30 days after it is forgotten.
CREATE TABLE session_heads (
    account    text   NOT NULL,
    session    text   NOT NULL,                 -- as `calls` has it
    subscriber text   NOT NULL,
    opened_ms  bigint NOT NULL,
    until_ms   bigint NOT NULL,                 -- when it is forgotten; 0 while it is open
    state      bytea  NOT NULL,                 -- packed Session after its last call
    PRIMARY KEY (account, session)
) WITH (fillfactor = 70);

-- One row per event and posting, 30 days. A refund of an event changes the state of its row.
CREATE TABLE once (
    account     text    NOT NULL,
    key         text    COLLATE "C" NOT NULL,   -- all keys that begin alike stand together
    shard       smallint NOT NULL,
    epoch       bigint  NOT NULL,               -- (shard, epoch, n) of the last call under the key
    n           bigint  NOT NULL,
    position    bigint  NOT NULL,               -- of that call
    fingerprint text    NOT NULL,
    at_ms       bigint  NOT NULL,
    until_ms    bigint  NOT NULL,               -- until when the live store keeps it
    state       bytea   NOT NULL,               -- packed IdempotencyRecord
    charged     boolean NOT NULL,               -- that call made entries
    doubled     boolean NOT NULL DEFAULT false, -- and so did another one of the same key and fingerprint
    PRIMARY KEY (account, key)
) WITH (fillfactor = 90);

-- What runs on is copied meanwhile by nobody: records wait in the streams, charging goes on.
LOCK TABLE shards IN EXCLUSIVE MODE;

INSERT INTO account_heads (account, shard, seq, afters, state)
SELECT account, COALESCE(c.shard, e.shard), COALESCE(e.seq, 0), COALESCE(e.afters, '{}'), c.account_state
  FROM (SELECT DISTINCT ON (account) account, shard, account_state FROM calls WHERE account_state IS NOT NULL
         ORDER BY account, position DESC) c
  FULL JOIN (SELECT account, max(shard) AS shard, max(seq) AS seq,
                    jsonb_object_agg(bucket, after) FILTER (WHERE after <> 0) AS afters
               FROM (SELECT DISTINCT ON (account, bucket) account, bucket, shard, seq, after FROM ledger_entries
                      ORDER BY account, bucket, seq DESC) l
              GROUP BY account) e USING (account);

INSERT INTO session_heads (account, session, subscriber, opened_ms, until_ms, state)
SELECT c.account, c.session, COALESCE(o.subscriber, c.subscriber), COALESCE(o.at_ms, c.at_ms), c.session_until_ms,
       c.session_state
  FROM (SELECT DISTINCT ON (account, session) account, session, subscriber, at_ms, session_until_ms, session_state
          FROM calls WHERE session_state IS NOT NULL ORDER BY account, session, position DESC) c
  LEFT JOIN (SELECT DISTINCT ON (account, session) account, session, subscriber, at_ms
               FROM calls WHERE opens ORDER BY account, session, at_ms DESC) o USING (account, session);

INSERT INTO once (account, key, shard, epoch, n, position, fingerprint, at_ms, until_ms, state, charged, doubled)
SELECT made.account, made.once_key, made.shard, made.epoch, made.n, made.position, made.fingerprint,
       GREATEST(made.at_ms, back.at_ms), made.once_until_ms,
       CASE WHEN back.position > made.position THEN back.refund_state ELSE made.once_state END, made.charged,
       EXISTS (SELECT FROM (SELECT c.fingerprint FROM calls c WHERE c.account = made.account
                               AND c.once_key = made.once_key AND EXISTS (SELECT FROM ledger_entries e
                             WHERE e.account = c.account AND e.epoch = c.epoch AND e.n = c.n)) charged
                GROUP BY fingerprint HAVING count(*) > 1)
  FROM (SELECT DISTINCT ON (account, once_key) c.*, EXISTS (SELECT FROM ledger_entries e
                 WHERE e.account = c.account AND e.epoch = c.epoch AND e.n = c.n) AS charged
          FROM calls c WHERE once_key IS NOT NULL ORDER BY account, once_key, position DESC) made
  LEFT JOIN (SELECT DISTINCT ON (account, refund_of) account, refund_of AS once_key, position, at_ms, refund_state
               FROM calls WHERE refund_of IS NOT NULL ORDER BY account, refund_of, position DESC) back
       USING (account, once_key);

-- A request that names only its session.
CREATE INDEX session_heads_session ON session_heads (session);
-- The daily purge. While a session is open its row changes without this index.
CREATE INDEX session_heads_until ON session_heads (until_ms) WHERE until_ms > 0;
CREATE INDEX once_at ON once USING brin (at_ms);
CREATE INDEX once_doubled ON once (account) WHERE doubled;

-- `calls` keeps which session a call was of and what it was answered with, for requests that are repeated late.
DROP INDEX calls_session, calls_once, calls_refund;
ALTER TABLE calls DROP COLUMN account_state, DROP COLUMN once_state, DROP COLUMN once_until_ms,
    DROP COLUMN refund_state, DROP COLUMN session_until_ms, DROP COLUMN opens;
ANALYZE account_heads, session_heads, once;
