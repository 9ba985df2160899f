-- How lots came to be, grew, and became others, in the order of the log.
SELECT
    position, type, cause, recorded_at, effective_at, amount, lot, stream_id, kind, holder, currency, resource,
    grant_type, lot_effective_at, lot_expires_at, lot_created_at, lot_priority, lot_awaiting_payment, grant_details
FROM ({moved}) AS moved
WHERE type IN ('ledger.granted', 'ledger.grant-updated', 'ledger.grant-payment-recorded')
ORDER BY position
