-- The events of some lots that are dated in a period, and all by which grants were opened: these count when the grants
-- begin. What only some events tell is asked of these alone: to look into the details of every event takes most of the
-- time.
SELECT
    position, recorded_at, effective_at, use_at, type, cause, amount, kind, holder, currency, resource, lot,
    stream_id, lot_balance, pool_balance, actor_kind, actor_key, document_id, transaction_id,
    CASE WHEN type = 'ledger.granted' AND kind = 'CREDIT_GRANT' THEN lot_effective_at END AS begins_at
FROM ({moved}) AS moved
WHERE (%(resource)s::text IS NULL OR resource = %(resource)s)
    AND (
        type = 'ledger.granted'
        OR effective_at <= %(end)s AND (%(start)s::timestamptz IS NULL OR effective_at >= %(start)s)
    )
