"""Who may log in to the platform's NATS broker over MQTT: the broker asks, the database's keys answer.

NATS calls this an auth callout: `service.run` does it, docs/adr/0008-mqtt-credentials.md says why.
"""
