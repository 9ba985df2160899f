-- The last event recorded at or before an instant: positions are gapless and the time of recording never goes back, so
-- halving finds it, at a look for each halving.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, %(head)s::bigint
    UNION ALL
    SELECT
        CASE WHEN probe.recorded_at <= %(instant)s THEN middle.position ELSE search.low END,
        CASE WHEN probe.recorded_at <= %(instant)s THEN search.high ELSE middle.position - 1 END
    FROM search
    CROSS JOIN LATERAL (SELECT (search.low + search.high + 1) / 2 AS position) AS middle
    CROSS JOIN LATERAL (SELECT recorded_at FROM movements WHERE position = middle.position) AS probe
    WHERE search.low < search.high
)
SELECT max(low) AS position FROM search
