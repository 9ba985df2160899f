-- Each lot as its first movement left it, read from the log, which no read model has to follow first.
SELECT
    e.lot, e.stream_id, e.kind, e.holder, e.currency, e.resource, e.grant_type,
    e.readable_id, e.cost_amount, e.cost_currency, e.document_id,
    e.lot_effective_at AS effective_at, e.lot_expires_at AS expires_at, e.lot_created_at AS created_at,
    e.recorded_at AS updated_at, e.lot_priority AS priority, e.lot_awaiting_payment AS awaiting_payment,
    e.lot_granted AS granted, e.lot_used AS used, 0::numeric(38, 9) AS voided, 0::numeric(38, 9) AS expired,
    e.lot_balance AS balance, NULL::timestamptz AS voided_at,
    e.position AS first_position, e.position AS last_position
FROM movements AS e
WHERE e.stream_id = ANY (%(streams)s::uuid[]) AND e.version = 1
