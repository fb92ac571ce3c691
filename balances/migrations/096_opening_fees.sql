-- How far recurring fees of an account are, and what was paid of the period that runs, where it comes from (docs/import.md).
ALTER TABLE accounts ADD COLUMN opening_fees jsonb NOT NULL DEFAULT '[]';
