"""The servers that come in wheels: PostgreSQL and NATS, on loopback, below one data directory.

Each is a description: `prepare()` writes its files, `command` is what to run in the foreground,
`ready()` asks it, `stop_signal` ends it. Whoever runs it (the supervisor, a test) owns the process.
"""
