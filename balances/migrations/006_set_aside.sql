-- Why reported use was set aside and not charged (Suspense in balances/structs); 0: it was charged.
ALTER TABLE usage_records ADD COLUMN set_aside smallint NOT NULL DEFAULT 0;
