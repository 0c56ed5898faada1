"""The command line, the settings, and the composition root that starts the parts together."""
