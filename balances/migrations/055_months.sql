-- needs: 039: the tables keep names, columns and rows; builds before read and write them as ever
-- `calls`, `usage_records` and `ledger_entries` by month of at_ms (UTC): <table>_before is what was there, <table>_2027_01 a
-- month, <table>_other takes what has no partition yet, so that a month nobody made never stops the copy. Whoever reads or
-- writes goes on under the same names, processes of the build before too.
--
-- Each partition has the keys of before; none stands over all of them. A record that is copied again has the same at_ms, so it
-- meets itself in its partition; that no other one comes under its number is held by what does not depend on partitions: the
-- cursor of its shard, which only moves from where it is, and the head of its account, whose next entry is the next one.
DO $$
DECLARE
    big text;
    before_ms bigint := (SELECT months_from_ms FROM store);
BEGIN
    FOREACH big IN ARRAY ARRAY['calls', 'usage_records', 'ledger_entries'] LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', big, big || '_before');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) PARTITION BY RANGE (at_ms)', big, big || '_before');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)', big, big || '_before', before_ms);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING INDEXES)', big || '_other', big || '_before');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', big, big || '_other');
    END LOOP;
END $$;

-- A view goes on with the table it was made of, whatever that is called now.
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
