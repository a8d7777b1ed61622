"""``ingestd check --live``: asks the cluster what will become of records sent with this configuration."""
