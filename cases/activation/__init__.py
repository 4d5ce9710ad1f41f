"""The cases: one YAML file per operator. Data only; nothing here is executed."""
