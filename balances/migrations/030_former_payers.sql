-- Who paid before: of each identity the accounts that ceased to pay for something, so that what is repeated is answered by
-- the account that was charged first (charging.md section 19).
CREATE TABLE former_payers (
    identity text   NOT NULL,
    account  text   NOT NULL REFERENCES accounts (id),
    change   bigint NOT NULL,                   -- of the master data, by which it ceased to
    until_ms bigint NOT NULL,
    PRIMARY KEY (identity, account)
);
