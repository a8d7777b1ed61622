"""A worker process: listeners, record path, arena and producer put together."""
