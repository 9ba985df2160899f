-- The movements of some lots in a stretch of time; the one that opens a grant counts when the grant begins.
SELECT concat_ws(' ', lots.lot, moved.type, moved.cause = 'ROLLED_OVER') AS branch, moved.*
FROM unnest(
    %(lots)s::uuid[], %(streams)s::uuid[], %(opened)s::bigint[], %(begins)s::timestamptz[]
) AS lots (lot, stream_id, opened, begins_at)
CROSS JOIN LATERAL (
    SELECT
        position, type, cause, amount,
        CASE WHEN position = lots.opened AND kind = 'CREDIT_GRANT' THEN lots.begins_at ELSE effective_at END AS counts_at
    FROM movements
    WHERE stream_id = lots.stream_id AND lot = lots.lot AND amount IS NOT NULL AND position <= %(until)s
) AS moved
WHERE (%(start)s::timestamptz IS NULL OR counts_at >= %(start)s) AND counts_at <= %(end)s
    AND (%(before)s::timestamptz IS NULL OR counts_at < %(before)s)
