-- Whether the registry is there, as this version knows it.
SELECT to_regclass('projection_skips') IS NOT NULL AS there
