SELECT
    lot, stream_id, kind, holder, currency, resource, grant_type, readable_id, cost_amount, cost_currency, document_id,
    effective_at, expires_at, created_at, updated_at, priority, awaiting_payment,
    granted, used, voided, expired, balance, voided_at, details, rolled_over_to, first_position, last_position
FROM {table}
WHERE readable_id = %(readable_id)s
