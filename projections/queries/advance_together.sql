-- Compare and set, for all of them; a runner that moves only some undoes it.
UPDATE projections SET position = %(until)s, events_per_second = %(events_per_second)s
FROM unnest(%(names)s::text[], %(versions)s::text[]) AS wanted (name, version)
WHERE projections.name = wanted.name AND projections.version = wanted.version AND projections.position = %(after)s
    AND projections.stage = 'serving'
