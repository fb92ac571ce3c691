-- Where each account stands as of its last copied record: its state and its free money, for who looks for accounts by these.
CREATE TABLE standings (
    account  text     PRIMARY KEY,
    currency text     NOT NULL,
    state    smallint NOT NULL,                 -- SuspendReasons of balances/structs/account.py
    free     bigint   NOT NULL                  -- micro-units that pay for anything and are not held; below zero: debt
) WITH (fillfactor = 70);
-- There are few states, so a search takes each that it means, and of that only what it answers.
CREATE INDEX standings_free ON standings (currency, state, free, account);

-- Accounts of before: the keeper takes what their last records say.
CREATE TABLE standings_missing (account text PRIMARY KEY);
INSERT INTO standings_missing SELECT id FROM accounts;
