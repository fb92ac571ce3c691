-- Money of use that nothing was held for when it was reported, by hour: what came in of sessions that went on without us. An estimate
-- that keepers add to once a minute, for people to look at; the ledger has the entries themselves. Kept for a week.
CREATE TABLE unheld_money (
    hour     timestamptz NOT NULL,
    peer     text        NOT NULL,              -- of the session; other: there were too many
    mark     text        NOT NULL,              -- unmatched, late: balances/structs/charge.py
    currency text        NOT NULL,
    micro    numeric     NOT NULL,
    PRIMARY KEY (hour, peer, mark, currency)
);
