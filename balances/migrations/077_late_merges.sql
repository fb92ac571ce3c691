-- What comes into a merged account later follows by a merge of its own (charging.md section 17), which may come back: then the
-- merge that it follows still says where to. NULL: a person ordered it, or a build before did.
ALTER TABLE transfers ADD COLUMN follows text;  -- id of that merge
