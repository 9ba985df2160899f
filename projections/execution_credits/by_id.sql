SELECT
    credit, company, credit_type, rollup_type, next_rollup_type, credits, anchor_at, first_month,
    created_at, updated_at, deleted_at, document_id, ends_at, used, version
FROM {table}
WHERE credit = ANY (%(credits)s::uuid[])
