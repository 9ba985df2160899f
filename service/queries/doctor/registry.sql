-- Whether any read model was ever begun.
SELECT to_regclass('projections') IS NOT NULL AS there
