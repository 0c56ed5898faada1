"""Bringing the platform onto a machine: bootstrap, browser for the tests, generated reference."""
