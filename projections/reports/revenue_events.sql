-- What became of some grants, lot by lot, in the order it counts; a grant opens when it begins.
SELECT
    lots.lot, moved.*
FROM unnest(
    %(lots)s::uuid[], %(streams)s::uuid[], %(opened)s::bigint[], %(begins)s::timestamptz[]
) AS lots (lot, stream_id, opened, begins_at)
CROSS JOIN LATERAL (
    SELECT
        position, type, cause, coalesce(amount, 0)::numeric(38, 9) AS amount, lot_used, transaction_id,
        CASE WHEN position = lots.opened THEN lots.begins_at ELSE effective_at END AS counts_at,
        CASE WHEN type = 'ledger.grant-payment-recorded'
            THEN grant_details #>> '{payment,paid_at}' IS NOT NULL END AS paid,
        CASE WHEN cause = 'ROLLED_OVER' THEN rolled_over_to END AS rolled_over_to
    FROM movements
    WHERE stream_id = lots.stream_id AND lot = lots.lot AND position <= %(until)s
) AS moved
WHERE counts_at <= %(end)s AND type <> 'ledger.grant-updated'
ORDER BY lots.lot, counts_at, position
