-- What is told of events: when, what, who, and where the reason is.
SELECT
    position, type, cause, recorded_at, effective_at, use_at, actor_kind, actor_key, transaction_id, document_id,
    rolled_over_to
FROM movements WHERE position = ANY (%(positions)s::bigint[])
