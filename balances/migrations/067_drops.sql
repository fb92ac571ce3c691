-- needs: 039: it only adds; the triggers write rows of the audit trail
-- Closed months of which usage records, or ledger entries too, are not kept any more (charging.md section 20). A row here is
-- what makes them gone: whoever adds up entries leaves out those before the end of the newest such month and takes the closings
-- in their place, whether the rows are deleted already or not.
CREATE TABLE ledger_drops (
    what       text   NOT NULL CHECK (what IN ('usage', 'entries')),
    until_ms   bigint NOT NULL,                 -- of ledger_periods
    dropped_ms bigint NOT NULL,
    dropped_by text   NOT NULL,
    digest     text   NOT NULL,                 -- of its closings, as they were proven against the entries; '' for usage
    deleted_ms bigint,                          -- when the last row of it was gone from the disk; NULL: not yet
    PRIMARY KEY (what, until_ms)
);

CREATE TRIGGER audit_insert AFTER INSERT ON ledger_drops REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change();
CREATE TRIGGER audit_insert AFTER INSERT ON ledger_periods REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change();

-- From when on each is kept; 0: for ever. Where entries are gone, usage is.
CREATE VIEW ledger_kept AS
    SELECT COALESCE(max(until_ms) FILTER (WHERE what = 'entries'), 0) AS entries_from_ms,
           COALESCE(max(until_ms), 0) AS usage_from_ms
      FROM ledger_drops;

CREATE VIEW kept_entries AS
    SELECT * FROM ledger_entries WHERE at_ms >= (SELECT entries_from_ms FROM ledger_kept);

-- What each bucket had when the newest dropped month ended, and the number of its last entry before that.
CREATE VIEW ledger_brought AS
    SELECT DISTINCT ON (account, bucket) account, bucket, kind, currency, seq, after FROM ledger_closings
     WHERE until_ms <= (SELECT entries_from_ms FROM ledger_kept)
     ORDER BY account, bucket, until_ms DESC;

-- Sums of all legs there ever were, in parts.
CREATE VIEW ledger_sums AS
    SELECT leg, kind, currency, book, amount FROM (
        SELECT leg, kind, currency, CASE WHEN leg = 'counter' THEN book END AS book, amount, at_ms FROM ledger_legs) legs
     WHERE at_ms >= (SELECT entries_from_ms FROM ledger_kept)
    UNION ALL
    SELECT 'account', kind, currency, NULL, amount FROM ledger_closings
     WHERE until_ms <= (SELECT entries_from_ms FROM ledger_kept)
    UNION ALL
    SELECT 'counter', kind, currency, book, amount FROM ledger_closed_books
     WHERE until_ms <= (SELECT entries_from_ms FROM ledger_kept);

-- What refunds need of entries that go: noted before they go.
ALTER TABLE refunds ADD COLUMN of_period text;                          -- of the fee whose entry it gave back of
ALTER TABLE refunds ADD COLUMN posted boolean NOT NULL DEFAULT false;   -- its entry was there
