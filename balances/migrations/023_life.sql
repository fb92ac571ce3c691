-- An account may be opened before anybody uses it: it is active from its first use (charging.md section 16).
ALTER TABLE accounts ADD COLUMN opening_created boolean NOT NULL DEFAULT false;
