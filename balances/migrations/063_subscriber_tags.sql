-- Charging tags that all use and fees of a subscriber carry (charging.md section 17): JSON, {"channel":"shop"}; '' for none.
ALTER TABLE subscribers ADD COLUMN tags text NOT NULL DEFAULT '';
ALTER TABLE fee_assignments ADD COLUMN tags text NOT NULL DEFAULT '';   -- of a subscriber that is deleted
