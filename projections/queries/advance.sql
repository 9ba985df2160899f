-- Compare and set: a runner that has been overtaken moves nothing and must undo its fold.
UPDATE projections SET position = %(until)s, error = NULL
WHERE name = %(name)s AND version = %(version)s AND position = %(after)s
