"""Configuration: from a TOML file to a checked, frozen :class:`ingestd.config.model.Config`."""
