"""Supervision: what needs a person's attention, and what was done about it."""
