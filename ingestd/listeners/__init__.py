"""Sockets to record path: streams, datagrams, flow control, and the native protocol's control frames and replies."""
