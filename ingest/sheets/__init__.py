"""Reported datasets as files, xlsx and CSV: templates, reading, and files given back with what was refused marked. Pure."""
