-- What the tables open_lots and due hold, beside what the log says: a row for each grant with a balance and for each
-- living execution credit's present lot, and when which of these ends and which schedule grants next.
WITH last_of_lot AS (
    SELECT DISTINCT ON (lot) stream_id, lot, kind, holder, currency, resource, lot_balance, terms_version
    FROM movements WHERE lot IS NOT NULL
    ORDER BY lot, position DESC
),
terms AS MATERIALIZED (
    SELECT
        position, stream_id, version, type, kind, lot, lot_expires_at AS expires_at,
        grant_details -> 'scheduled' AS scheduled
    FROM movements
    WHERE type IN ('ledger.granted', 'ledger.grant-updated', 'ledger.grant-payment-recorded')
),
definition AS (
    SELECT DISTINCT ON (stream_id)
        stream_id, version, type, kind, holder, currency, resource, deleted_at, definition -> 'plan' AS plan
    FROM movements WHERE type IN ('ledger.execution-credit-defined', 'ledger.grant-schedule-defined')
    ORDER BY stream_id, position DESC
),
present AS (
    SELECT DISTINCT ON (stream_id) stream_id, lot
    FROM terms WHERE kind = 'EXECUTION_CREDIT' AND type = 'ledger.granted'
    ORDER BY stream_id, position DESC
),
paying AS (
    SELECT last.*, definition.version AS definition_version, terms.expires_at
    FROM last_of_lot AS last
    LEFT JOIN definition USING (stream_id)
    LEFT JOIN present USING (stream_id, lot)
    LEFT JOIN terms ON terms.stream_id = last.stream_id AND terms.version = last.terms_version
    WHERE CASE last.kind
        WHEN 'CREDIT_GRANT' THEN last.lot_balance > 0
        ELSE present.lot IS NOT NULL AND definition.deleted_at IS NULL
    END
),
part AS (
    SELECT (scheduled ->> 'schedule_id')::uuid AS stream_id, max((scheduled ->> 'part')::integer) AS last
    FROM terms WHERE scheduled IS NOT NULL AND type = 'ledger.granted'
    GROUP BY 1
),
schedule AS (
    SELECT
        stream_id, kind, holder, currency, resource,
        (plan ->> 'anchor_at')::timestamptz AS anchor_at,
        greatest((plan ->> 'first_part')::integer, part.last + 1) AS next_part,
        CASE WHEN plan ->> 'cadence' = 'MONTHLY' OR plan ->> 'billing_period' = 'MONTH' THEN 1 ELSE 12 END AS months
    FROM definition
    LEFT JOIN part USING (stream_id)
    WHERE type = 'ledger.grant-schedule-defined' AND plan ->> 'ended_at' IS NULL
),
coming AS (
    SELECT
        stream_id, CASE kind WHEN 'CREDIT_GRANT' THEN 'EXPIRY' ELSE 'RENEWAL' END AS act, expires_at AS due_at,
        kind, holder, currency, resource
    FROM paying WHERE expires_at IS NOT NULL
    UNION ALL
    SELECT
        stream_id, 'SCHEDULE',
        (anchor_at AT TIME ZONE 'UTC' + make_interval(months => next_part * months)) AT TIME ZONE 'UTC',
        kind, holder, currency, resource
    FROM schedule
),
judged AS (
    SELECT
        1 AS place,
        stream_id,
        CASE
            WHEN kept.lot IS NULL
                THEN 'open_lots lacks the row of stream ' || stream_id || ', whose lot ' || paying.lot
                    || ' may still pay'
            WHEN paying.lot IS NULL
                THEN 'open_lots has a row for stream ' || stream_id || ', which by the log has nothing left to pay with'
            WHEN (kept.lot, kept.kind, kept.holder, kept.currency, kept.resource, kept.definition_version)
                IS DISTINCT FROM
                (paying.lot, paying.kind, paying.holder, paying.currency, paying.resource, paying.definition_version)
                THEN concat(
                    'open_lots has another row for stream ', stream_id, ' than the log, which says: lot ', paying.lot,
                    ', pool (', concat_ws(', ', paying.kind, paying.holder, paying.currency, paying.resource),
                    '), definition ', coalesce(paying.definition_version::text, 'none')
                )
        END AS fault
    FROM paying
    FULL JOIN open_lots AS kept USING (stream_id)
    UNION ALL
    SELECT
        2,
        stream_id,
        CASE
            WHEN kept.due_at IS NULL
                THEN 'due lacks the ' || act || ' of stream ' || stream_id || ' at ' || coming.due_at
            WHEN coming.due_at IS NULL
                THEN 'due has the ' || act || ' of stream ' || stream_id || ', which by the log will not come'
            WHEN (kept.due_at, kept.kind, kept.holder, kept.currency, kept.resource)
                IS DISTINCT FROM (coming.due_at, coming.kind, coming.holder, coming.currency, coming.resource)
                THEN concat(
                    'due has another ', act, ' for stream ', stream_id, ' than the log, which says: at ',
                    coming.due_at, ', pool (',
                    concat_ws(', ', coming.kind, coming.holder, coming.currency, coming.resource), ')'
                )
        END
    FROM coming
    FULL JOIN due AS kept USING (stream_id, act)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY place, stream_id, fault LIMIT 1) AS first_fault
FROM judged
