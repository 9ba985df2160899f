INSERT INTO projections (name, version, schema_sql, fold_sql, stage, number)
VALUES (%(name)s, %(version)s, %(schema_sql)s, %(fold_sql)s, %(stage)s, %(number)s)
