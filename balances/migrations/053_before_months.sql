-- needs: 039: the tables keep names, columns and rows; builds before read and write them as ever
-- The big tables are about to be partitioned by month (055). What is there stays where it is, as the first partition: all
-- before one instant, the beginning of the month after next, or of this one where there is nothing yet. The three steps
-- are transactions of their own: this one and 055 lock the tables for a moment, 054 reads them beside the traffic.
-- The newest instant is looked for first, which reads the big tables: nothing is locked for it.
DO $$
DECLARE
    before_ms bigint := (
        SELECT extract(epoch FROM date_trunc('month', CASE WHEN newest IS NULL THEN now() AT TIME ZONE 'UTC'
                   ELSE greatest(to_timestamp(newest / 1000.0), now()) AT TIME ZONE 'UTC' + interval '2 months' END))::bigint * 1000
          FROM (SELECT greatest((SELECT max(at_ms) FROM calls), (SELECT max(at_ms) FROM usage_records),
                                (SELECT max(at_ms) FROM ledger_entries)) AS newest) found);
BEGIN
    ALTER TABLE store ADD COLUMN months_from_ms bigint NOT NULL DEFAULT 0;
    UPDATE store SET months_from_ms = before_ms;
END $$;

-- NOT VALID: nothing is read under this lock. It is what lets 055 take the tables over without reading them.
DO $$
DECLARE
    big text;
    before_ms bigint := (SELECT months_from_ms FROM store);
BEGIN
    FOREACH big IN ARRAY ARRAY['calls', 'usage_records', 'ledger_entries'] LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT before_months CHECK (at_ms < %s) NOT VALID', big, before_ms);
    END LOOP;
END $$;
