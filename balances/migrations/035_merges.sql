-- A merge is a transfer of all that an account has (charging.md section 17): its row is there from the order on, in the state
-- -1 until nothing of the account is held.
ALTER TABLE transfers
    ADD COLUMN merges boolean NOT NULL DEFAULT false,
    ADD COLUMN moved  jsonb;                    -- what left, packed Bucket by Bucket; NULL: `amount` of the main one
