"""The platform under load while its parts are killed, starved and cut off: `python -m tests.chaos --help`."""
