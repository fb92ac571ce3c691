-- When buckets end, as their records said, so that somebody can be told before (`bucket.expiring`): once for each end.
CREATE TABLE bucket_ends (
    account  text    NOT NULL,
    bucket   bigint  NOT NULL,
    until_ms bigint  NOT NULL,
    told     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account, bucket)
) WITH (fillfactor = 70);
CREATE INDEX bucket_ends_due ON bucket_ends (until_ms) WHERE NOT told;
