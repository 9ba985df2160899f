-- Who may do what. Run at every migration: it only grants what should be there already.
GRANT USAGE ON SCHEMA {schema} TO {writer}, {projector}, {reader};
GRANT SELECT, INSERT ON {schema}.events, {schema}.idempotency TO {writer};
GRANT SELECT, INSERT, UPDATE, DELETE
    ON {schema}.claims, {schema}.open_lots, {schema}.due, {schema}.test_clock, {schema}.documents TO {writer};
GRANT SELECT, INSERT, UPDATE ON {schema}.followed TO {writer};
GRANT SELECT ON {schema}.log_meta, {schema}.token_secret TO {writer};
GRANT SELECT, INSERT, UPDATE, DELETE
    ON {schema}.webhook_endpoints, {schema}.webhook_secrets, {schema}.webhook_messages, {schema}.webhook_troubles,
    {schema}.webhook_attempts TO {writer};
GRANT SELECT ON {schema}.documents, {schema}.api_keys, {schema}.migrations TO {reader};
GRANT SELECT ON {schema}.epochs TO {writer}, {reader};
GRANT SELECT ON {schema}.webhook_messages, {schema}.webhook_troubles TO {reader};
GRANT SELECT (ledger_id, epoch) ON {schema}.log_meta TO {reader};
GRANT SELECT ON {schema}.test_clock TO {projector}, {reader};
GRANT SELECT ON {schema}.movements TO {writer}, {projector}, {reader};
GRANT CREATE ON SCHEMA {schema} TO {projector};
ALTER DEFAULT PRIVILEGES FOR ROLE {projector} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
