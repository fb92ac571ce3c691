-- In which form a webhook is told events: as CloudEvents, or as TM Forum's notifications (docs/tmf654.md).
ALTER TABLE webhooks ADD COLUMN form text NOT NULL DEFAULT 'cloudevents' CHECK (form IN ('cloudevents', 'tmf654'));
