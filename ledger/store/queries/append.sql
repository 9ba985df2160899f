-- Some lines of the log, as an array of them. Many at once go in by COPY, with the same columns in the same order.
INSERT INTO events (
    position, transaction_last, stream_id, version, type, schema_version, transaction_id, recorded_at, actor_kind,
    actor_key, correlation_id, causation_id, effective_at, use_at, cause, kind, holder, currency, resource,
    grant_type, lot, amount, debit_id, account_groups, terms_version, lot_granted, lot_used, lot_balance,
    pool_balance, data
)
SELECT * FROM unnest(%s::event_line[])
