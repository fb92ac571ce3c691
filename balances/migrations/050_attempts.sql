-- needs: 039: the key only gets longer; of a build before, a movement that is repeated counts twice for its day
-- Of one key several requests may be under way at once, of which each takes back only what it counted itself. The table
-- keeps three days of callers with a limit for the day, so it is small.
ALTER TABLE moved_by_day ADD COLUMN attempt bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE moved_by_day DROP CONSTRAINT moved_by_day_pkey;
ALTER TABLE moved_by_day ADD PRIMARY KEY (caller, permission, unit, day, account, key, attempt);
