-- Which ledger this is, and its epochs, oldest first.
SELECT meta.ledger_id, epochs.epoch, epochs.began_after, epochs.began_at, epochs.began_by, epochs.reason
FROM epochs
CROSS JOIN (SELECT ledger_id FROM log_meta) AS meta
ORDER BY epochs.number
