-- Money of two currencies is no one amount: of nobody known, a row for each.
DROP INDEX suspense_nobody;
CREATE UNIQUE INDEX suspense_nobody ON suspense (session, service, rating_group, service_id, unit,
    (CASE WHEN unit = 0 THEN currency ELSE '' END)) WHERE account IS NULL AND state = 'open';
