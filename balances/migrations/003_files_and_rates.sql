-- What prices depend on besides the tariff document: attributes of subscribers, files that documents name, exchange
-- rates. All of it is master data under the change number of 002, projected into Redis with the rest.

-- What tariffs may ask of a subscriber (segment, contract, entitlements): name -> text.
ALTER TABLE subscribers ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}';

-- Files that tariff documents name: tables of destinations, parts that several tariffs include. A version is never
-- changed, as with the documents.
CREATE TABLE tariff_files (
    name         text NOT NULL,
    version      integer NOT NULL,
    media_type   text NOT NULL,
    content      bytea NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    change       bigint NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX tariff_files_change ON tariff_files (change);

-- The files a version of a tariff was compiled with: name -> version. With them it stays what it was, and its prices can
-- be explained years later; a new version of a file makes a new version of the tariff.
ALTER TABLE tariffs ADD COLUMN files jsonb NOT NULL DEFAULT '{}';

-- One unit of a currency in another, in force from 00:00 UTC of the day until the next day that has one for the pair.
CREATE TABLE exchange_rates (
    of_currency   text NOT NULL,
    into_currency text NOT NULL,
    day           date NOT NULL,
    rate          text NOT NULL,        -- as it was given: this is what the ledger says of it
    change        bigint NOT NULL,
    PRIMARY KEY (of_currency, into_currency, day)
);
CREATE INDEX exchange_rates_change ON exchange_rates (change);
