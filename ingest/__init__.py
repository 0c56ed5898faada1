"""From the wire to the store: the open interface, the Batch, the log, validation, the writer."""
