-- Compare and set: a runner that has been overtaken moves nothing and must undo its fold.
UPDATE projections
SET position = %(until)s, error = NULL, error_position = NULL, events_per_second = %(events_per_second)s
WHERE name = %(name)s AND version = %(version)s AND position = %(after)s
