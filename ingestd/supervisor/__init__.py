"""Keeps the workers alive and the memory bounded; loads neither compiled record path nor event loop."""
