-- What it takes to show for ever why something cost what it did, whatever becomes of tariffs and programs.

-- Ladders are few and usage records many: each is kept once, under the hash of its content.
CREATE TABLE ladders (
    hash     bytea PRIMARY KEY,                 -- blake2b, 16 octets
    packed   bytea NOT NULL,                    -- msgpack of tariffs.ladder.Ladder
    added_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE usage_records
    ADD COLUMN secondary smallint NOT NULL DEFAULT 0,   -- 1: what was charged beside the line, in another unit
    ADD COLUMN terms    text,                          -- tax and exchange rate: "tax=190000;rate=1.0923"
    ADD COLUMN ladder   bytea,                         -- ladders (hash); NULL where nothing was priced
    ADD COLUMN counters jsonb;                         -- of its steps, as they stood before it
-- Rating again what happened in a month. Records come in the order of time, so a brin is enough.
CREATE INDEX usage_records_at ON usage_records USING brin (at_ms);

-- Corrections of an entry.
CREATE INDEX ledger_entries_original ON ledger_entries (original_account, original_seq) WHERE original_seq IS NOT NULL;

-- Both legs of every posting; the tax a debit contains is owed to the state, not earned.
CREATE OR REPLACE VIEW ledger_legs AS
    SELECT account, seq, 'account' AS leg, account AS book, bucket, kind, currency, amount, at_ms, why
      FROM ledger_entries
    UNION ALL
    SELECT account, seq, 'counter' AS leg, counter_account AS book, NULL AS bucket, kind, currency,
           -(amount - COALESCE(tax, 0)) AS amount, at_ms, why
      FROM ledger_entries
    UNION ALL
    SELECT account, seq, 'counter' AS leg, 'tax' AS book, NULL AS bucket, kind, currency, -tax AS amount, at_ms, why
      FROM ledger_entries WHERE tax <> 0;
