"""`qunce demo`: the same parts as in production, with embedded servers and a simulated province.

Nothing here is known to the parts themselves: they get settings, like anywhere else.
"""
