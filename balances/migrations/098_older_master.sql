-- needs: 039: a build before goes by the numbers alone, as ever
-- By how many changes of master data the live store was ahead when somebody saw it (durability.md rule 12); NULL: it was not.
ALTER TABLE master ADD COLUMN older_by bigint;
