-- Accounts that come from elsewhere keep the state they had there, and what percentages of their main balance are of.
ALTER TABLE accounts
    ADD COLUMN opening_state          smallint,                     -- SuspendReasons; NULL: as its balance says
    ADD COLUMN opening_grace_until_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN opening_filled         bigint;                       -- micro-units; NULL: its opening balance
