"""Indicators: the catalogue, the hour rollup, the formulas, the engine that applies them, and its schedule."""
