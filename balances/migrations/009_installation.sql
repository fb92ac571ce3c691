-- Which installation this is, beside the same id in the live store: another one's store is not opened.
ALTER TABLE store ADD COLUMN installation uuid NOT NULL DEFAULT gen_random_uuid();

-- Answers that were acknowledged and that neither store knows after the live one came back: what a process that gave them
-- still remembered. `accepted_at`: a person has taken note.
CREATE TABLE lost_answers (
    account     text     NOT NULL,
    session     text     NOT NULL,
    request_key text     NOT NULL,
    at_ms       bigint   NOT NULL,
    epoch       bigint   NOT NULL,              -- under which it was acknowledged
    currency    text     NOT NULL,              -- '' where the account is not known
    cost        bigint   NOT NULL,              -- micro-units debited, below zero: credited
    found_at    timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz,
    accepted_by text,
    reason      text,
    PRIMARY KEY (account, session, request_key, at_ms)
);
