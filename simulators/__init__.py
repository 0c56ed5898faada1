"""A simulated province: factories and lead-unit platforms that speak only the public protocols.

Nothing of the platform is imported here; see ``docs/interface.md`` for all that is assumed about it.
"""
