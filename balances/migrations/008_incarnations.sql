-- A Session-Id may be used again (charging.md section 3): how often it was begun when this was recorded; 0: no session.
ALTER TABLE calls ADD COLUMN incarnation integer NOT NULL DEFAULT 0;
ALTER TABLE usage_records ADD COLUMN incarnation integer NOT NULL DEFAULT 0;
