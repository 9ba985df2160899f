-- The builds that nobody reads: what was replaced, what was left unfinished, and what older versions of the code read
-- while the present one is at least as far.
SELECT model.name, model.version, model.stage, model.position
FROM projections AS model
JOIN unnest(%(names)s::text[], %(versions)s::text[]) AS present (name, version) ON present.name = model.name
JOIN projections AS serving
    ON serving.name = model.name AND split_part(serving.version, '_', 1) = present.version AND serving.stage = 'serving'
WHERE model.stage <> 'serving'
    OR (split_part(model.version, '_', 1) <> present.version AND model.number <= serving.number AND model.position <= serving.position)
ORDER BY model.name, model.number, model.version
