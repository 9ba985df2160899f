-- The session that delivers the webhooks of a ledger holds this as long as it lives.
SELECT pg_try_advisory_lock(hashtextextended(current_schema(), 5)) AS ours
