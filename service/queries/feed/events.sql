-- The events of a stretch of the log, in order, that a subscriber wants; empty lists: he wants all. With a limit, one more
-- than that many: it tells whether something was left out, and where.
SELECT
    told.position,
    told.transaction_last,
    told.stream_id,
    told.version,
    told.type,
    told.transaction_id,
    told.recorded_at,
    told.actor_kind,
    told.actor_key,
    told.correlation_id,
    told.causation_id,
    told.effective_at,
    told.use_at,
    told.cause,
    told.kind,
    told.holder,
    told.currency,
    told.resource,
    told.grant_type,
    told.lot,
    told.amount,
    told.debit_id,
    told.account_groups,
    told.lot_granted,
    told.lot_used,
    told.lot_balance,
    told.pool_balance,
    told.lot_effective_at,
    told.lot_expires_at,
    told.lot_created_at,
    told.lot_priority,
    told.lot_awaiting_payment,
    told.grant_details,
    told.rolled_over_to,
    told.definition,
    told.document_id,
    told.document_sha256,
    documents.body AS document_body
FROM movements AS told
LEFT JOIN documents ON documents.id = told.document_id
WHERE told.position > %(after)s::bigint AND told.position <= %(until)s::bigint
    AND (cardinality(%(types)s::text[]) = 0 OR told.type = ANY(%(types)s::text[]))
    AND (cardinality(%(holders)s::text[]) = 0 OR told.holder = ANY(%(holders)s::text[]))
    AND (cardinality(%(currencies)s::text[]) = 0 OR told.currency = ANY(%(currencies)s::text[]))
ORDER BY told.position
LIMIT %(limit)s::integer
