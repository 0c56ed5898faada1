"""MQTT: the platform's own broker and brokers of others."""
