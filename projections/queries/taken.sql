-- Whether a build of this name, or a table that looks like it, is there already.
SELECT WHERE to_regclass(%(build_table)s) IS NOT NULL
    OR EXISTS (SELECT FROM projections WHERE name = %(name)s AND version = %(version)s)
