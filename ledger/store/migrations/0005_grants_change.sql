-- Grants that change, schedules that grant, and recharges.

-- The schedules of a pool are loaded with it; a customer's reads ask what is due for him.
CREATE INDEX due_of_schedules ON due (holder, currency, kind) WHERE act = 'SCHEDULE';
CREATE INDEX due_of_holders ON due (holder, kind, due_at);

COMMENT ON TABLE due IS 'What falls due when: the end of an open grant, the renewal of an execution credit, a schedule''s next part.';
COMMENT ON TABLE claims IS 'What only one stream may hold: readable ids, live execution credits, parts, remainders, recharges.';

-- The view tells more of what there is now; columns are only ever added, at the end.
CREATE OR REPLACE VIEW movements AS
SELECT
    position,
    transaction_last,
    stream_id,
    version,
    type,
    transaction_id,
    recorded_at,
    actor_kind,
    actor_key,
    correlation_id,
    causation_id,
    effective_at,
    use_at,
    cause,
    kind,
    holder,
    currency,
    resource,
    grant_type,
    lot,
    amount,
    debit_id,
    account_groups,
    lot_granted,
    lot_used,
    lot_balance,
    pool_balance,
    (data #>> '{terms,effective_at}')::timestamptz AS lot_effective_at,
    (data #>> '{terms,expires_at}')::timestamptz   AS lot_expires_at,
    (data #>> '{terms,created_at}')::timestamptz   AS lot_created_at,
    (data #>> '{terms,priority}')::numeric(38, 9)  AS lot_priority,
    (data #>> '{terms,awaiting_payment}')::boolean AS lot_awaiting_payment,
    data #>> '{grant,readable_id}'                 AS readable_id,
    (data #>> '{grant,cost,amount}')::numeric(38, 9) AS cost_amount,
    data #>> '{grant,cost,currency}'               AS cost_currency,
    data #>> '{credit_type}'                       AS credit_type,
    data #>> '{rollup_type}'                       AS rollup_type,
    (data #>> '{credits}')::numeric(38, 9)         AS allotment,
    (data #>> '{anchor_at}')::timestamptz          AS anchor_at,
    (data #>> '{deleted_at}')::timestamptz         AS deleted_at,
    (data #>> '{document,document_id}')::uuid      AS document_id,
    data #>> '{document,sha256}'                   AS document_sha256,
    data -> 'grant'                                AS grant_details,
    CASE
        WHEN type = 'ledger.granted' THEN data #>> '{document,document_id}'
        WHEN lot IS NOT NULL THEN data #>> '{grant,texts,0}'
    END::uuid                                      AS grant_document_id,
    (data ->> 'rolled_over_to')::uuid              AS rolled_over_to,
    CASE WHEN lot IS NULL THEN data - 'document' END AS definition,
    terms_version
FROM events;

COMMENT ON VIEW movements IS 'Every event of the log, all schema versions normalised. Read this, not the table.';
