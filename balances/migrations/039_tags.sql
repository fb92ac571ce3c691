-- Charging tags (charging.md section 17): on entries, and on what later legs and postings are made from.
ALTER TABLE ledger_entries DROP COLUMN tags;                            -- an array that nothing was ever written to
ALTER TABLE ledger_entries ADD COLUMN tags jsonb;                       -- {"channel": "web"}; NULL for none
ALTER TABLE transfers ADD COLUMN tags text NOT NULL DEFAULT '';         -- as a record has them (balances/structs/record.py)
ALTER TABLE voucher_claims ADD COLUMN tags text NOT NULL DEFAULT '';
ALTER TABLE suspense ADD COLUMN tags text NOT NULL DEFAULT '';
