-- Whose customer an account is, what people sort accounts by, and which account pays for which service of a subscriber
-- (charging.md section 19).
ALTER TABLE accounts
    ADD COLUMN customer text   NOT NULL DEFAULT '',     -- '' for none
    ADD COLUMN tags     text[] NOT NULL DEFAULT '{}';
CREATE INDEX accounts_customer ON accounts (customer, id) WHERE customer <> '';
CREATE INDEX accounts_tags ON accounts USING gin (tags);

CREATE TABLE payers (
    subscriber text NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    service    text NOT NULL,
    account    text NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (subscriber, service)
);
CREATE INDEX payers_account ON payers (account);

-- Every account that pays for a subscriber, whatever for.
CREATE VIEW paying AS
    SELECT id AS subscriber, account FROM subscribers UNION SELECT subscriber, account FROM payers;
