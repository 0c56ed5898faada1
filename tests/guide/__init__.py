"""The integration guide, followed word for word against a running platform."""
