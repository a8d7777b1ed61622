"""Everything that runs once per record, compiled. Imports nothing of ingestd outside this package."""
