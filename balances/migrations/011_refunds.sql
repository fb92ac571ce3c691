-- What a refund over HTTP was granted of what an entry or a session has cost: written before it is posted, so that parts
-- asked for side by side add up to no more than was paid (charging.md section 9).
CREATE TABLE refunds (
    account     text    NOT NULL,
    request     text    NOT NULL,           -- once key of the posting
    fingerprint text    NOT NULL,
    session     text    NOT NULL,           -- "" where what is given back is of no session
    incarnation integer NOT NULL,
    seq         bigint,                     -- the entry that was named
    amount      bigint  NOT NULL,           -- micro-units
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, request)
);
CREATE INDEX refunds_session ON refunds (account, session, incarnation);
