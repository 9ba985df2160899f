-- Every movement of a pool with its running balances, which are facts in the events; oldest first.
SELECT
    e.position, e.type, e.cause, e.recorded_at, e.effective_at, e.transaction_id, e.lot, l.readable_id,
    e.amount, e.lot_balance, e.pool_balance, e.actor_kind, e.actor_key
FROM (SELECT DISTINCT stream_id FROM {table}
      WHERE holder = %(holder)s AND currency = %(currency)s AND kind = %(kind)s
          AND resource IS NOT DISTINCT FROM %(resource)s::text) AS s
JOIN movements AS e ON e.stream_id = s.stream_id
JOIN {table} AS l ON l.lot = e.lot
WHERE e.amount IS NOT NULL AND e.position <= %(position)s
ORDER BY e.position
