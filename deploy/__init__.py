"""Bringing the platform onto a machine: bootstrap, the programs of the tests, generated reference."""
