-- Grants as an event of theirs left them, read from the log, which no read model has to follow first. How one ended
-- stands near its end: a void, or a lapse with what rolled over before what was lost to the cap.
SELECT
    last.lot, last.stream_id, last.kind, last.holder, last.currency, last.resource, last.grant_type,
    terms.readable_id, terms.cost_amount, terms.cost_currency, terms.grant_document_id AS document_id,
    terms.lot_effective_at AS effective_at, terms.lot_expires_at AS expires_at, terms.lot_created_at AS created_at,
    last.recorded_at AS updated_at, terms.lot_priority AS priority, terms.lot_awaiting_payment AS awaiting_payment,
    last.lot_granted AS granted, last.lot_used AS used,
    CASE ending.type WHEN 'ledger.voided' THEN ended.amount ELSE 0 END::numeric(38, 9) AS voided,
    CASE ending.type WHEN 'ledger.expired' THEN ended.amount ELSE 0 END::numeric(38, 9) AS expired,
    last.lot_balance AS balance, CASE ending.type WHEN 'ledger.voided' THEN ending.recorded_at END AS voided_at,
    terms.grant_details AS details,
    rollover.rolled_over_to, first.position AS first_position, last.position AS last_position
FROM unnest(%(streams)s::uuid[], %(versions)s::integer[]) AS wanted (stream_id, version)
JOIN movements AS last ON last.stream_id = wanted.stream_id AND last.version = wanted.version
JOIN movements AS first ON first.stream_id = wanted.stream_id AND first.version = 1
JOIN movements AS terms ON terms.stream_id = wanted.stream_id AND terms.version = last.terms_version
CROSS JOIN LATERAL (SELECT last.lot_granted - last.lot_used - last.lot_balance AS amount) AS ended
LEFT JOIN LATERAL (
    SELECT version, type, recorded_at FROM movements
    WHERE ended.amount > 0 AND stream_id = wanted.stream_id AND version <= wanted.version
        AND type IN ('ledger.voided', 'ledger.expired') AND cause <> 'REFUND'
    ORDER BY version DESC LIMIT 1
) AS ending ON true
LEFT JOIN movements AS rollover
    ON rollover.stream_id = wanted.stream_id AND rollover.version IN (ending.version, ending.version - 1)
    AND rollover.rolled_over_to IS NOT NULL
