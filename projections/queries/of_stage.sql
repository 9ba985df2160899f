-- The newest shadow of a version, or what its serving build has replaced.
SELECT model.version AS build
FROM projections AS model
LEFT JOIN projections AS serving
    ON serving.name = model.name AND split_part(serving.version, '_', 1) = %(version)s AND serving.stage = 'serving'
WHERE model.name = %(name)s AND split_part(model.version, '_', 1) = %(version)s AND model.stage = %(stage)s
    AND (model.stage = 'shadow' OR model.replaced_by = serving.version)
ORDER BY model.number DESC
LIMIT 1
