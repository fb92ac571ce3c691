-- Rating history again (ocs/rerating): reads the entries of a month, and what was corrected of a usage record before.

-- Entries come in the order of time, so a brin is enough.
CREATE INDEX ledger_entries_at ON ledger_entries USING brin (at_ms);
-- A correction says what it corrects: "usage <epoch>-<n>/<line>".
CREATE INDEX ledger_entries_rerate ON ledger_entries (account, reference) WHERE why = 'rerate';
