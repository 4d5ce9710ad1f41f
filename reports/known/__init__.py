"""The ledger of known discrepancies: one YAML file per framework. Data only."""
