-- The credits of all lots, of both kinds, that were usable at some instant of [start, end): in time, not void, and with
-- no awaited payment open. A period of which nothing was left is not voided when its credit is deleted: it ends there.
-- Where an allotment was lowered, what it was lowered by is not counted.
SELECT coalesce(sum(lot.granted - lot.lowered), 0)::numeric(38, 9) AS purchased
FROM {table} AS lot
LEFT JOIN {execution_credits} AS deleted ON deleted.credit = lot.stream_id AND deleted.deleted_at IS NOT NULL
WHERE NOT lot.awaiting_payment
    AND greatest(lot.effective_at, lot.opened_at, %(start)s)
        < least(lot.expires_at, lot.voided_at, deleted.deleted_at, %(end)s)
