-- What the tables open_lots and due hold, beside what the log says: a row for each grant with a balance and for each
-- living execution credit's present lot, and for each of these that ends the instant when it does.
WITH last_of_lot AS (
    SELECT DISTINCT ON (lot) stream_id, lot, kind, holder, currency, resource, lot_balance, terms_version
    FROM events WHERE lot IS NOT NULL
    ORDER BY lot, position DESC
),
definition AS (
    SELECT DISTINCT ON (stream_id) stream_id, version, deleted_at
    FROM movements WHERE type = 'ledger.execution-credit-defined'
    ORDER BY stream_id, position DESC
),
present AS (
    SELECT DISTINCT ON (stream_id) stream_id, lot
    FROM movements WHERE kind = 'EXECUTION_CREDIT' AND type = 'ledger.granted'
    ORDER BY stream_id, position DESC
),
paying AS (
    SELECT last.*, definition.version AS definition_version, terms.lot_expires_at AS expires_at
    FROM last_of_lot AS last
    LEFT JOIN definition USING (stream_id)
    LEFT JOIN present USING (stream_id, lot)
    LEFT JOIN movements AS terms ON terms.stream_id = last.stream_id AND terms.version = last.terms_version
    WHERE CASE last.kind
        WHEN 'CREDIT_GRANT' THEN last.lot_balance > 0
        ELSE present.lot IS NOT NULL AND definition.deleted_at IS NULL
    END
),
ending AS (
    SELECT *, CASE kind WHEN 'CREDIT_GRANT' THEN 'EXPIRY' ELSE 'RENEWAL' END AS act
    FROM paying WHERE expires_at IS NOT NULL
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
                THEN 'due lacks the ' || act || ' of stream ' || stream_id || ' at ' || ending.expires_at
            WHEN ending.lot IS NULL
                THEN 'due has the ' || act || ' of stream ' || stream_id || ', which by the log does not end'
            WHEN (kept.due_at, kept.kind, kept.holder, kept.currency, kept.resource)
                IS DISTINCT FROM (ending.expires_at, ending.kind, ending.holder, ending.currency, ending.resource)
                THEN concat(
                    'due has another ', act, ' for stream ', stream_id, ' than the log, which says: at ',
                    ending.expires_at, ', pool (',
                    concat_ws(', ', ending.kind, ending.holder, ending.currency, ending.resource), ')'
                )
        END
    FROM ending
    FULL JOIN due AS kept USING (stream_id, act)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY place, stream_id, fault LIMIT 1) AS first_fault
FROM judged
