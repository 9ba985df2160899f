-- What refunds gave back to lots, and what they left used of them.
SELECT lot, effective_at, amount, lot_used
FROM ({moved}) AS moved
WHERE type = 'ledger.refunded' AND effective_at <= %(end)s
