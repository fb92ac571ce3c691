-- needs: 039: it changes nothing
-- Reads the big tables, beside whoever reads and writes them.
ALTER TABLE calls VALIDATE CONSTRAINT before_months;
ALTER TABLE usage_records VALIDATE CONSTRAINT before_months;
ALTER TABLE ledger_entries VALIDATE CONSTRAINT before_months;
