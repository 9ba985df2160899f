-- The customers' own pools that events after a position were about, and how far that looked; one row where none were.
WITH head AS (
    SELECT coalesce(max(position), 0) AS position FROM events
)
SELECT DISTINCT
    head.position, e.kind, e.holder, e.currency, e.type = 'ledger.auto-recharge-defined' AS redefined
FROM head
LEFT JOIN events AS e
    ON e.position > %(after)s AND e.position <= head.position AND e.kind = 'CREDIT_GRANT' AND e.resource IS NULL
    AND e.type IN ('ledger.debited', 'ledger.expired', 'ledger.voided', 'ledger.auto-recharge-defined')
