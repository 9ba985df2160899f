-- How far each version of each read model has come, beside the head of the log, in one snapshot.
SELECT model.name, model.version, model.position, model.error, coalesce(log.position, 0) AS head
FROM projections AS model
LEFT JOIN LATERAL (SELECT position FROM movements ORDER BY position DESC LIMIT 1) AS log ON true
ORDER BY model.name, model.version
