"""OPC UA: a client that subscribes."""
