"""Random histories of the store against a model of its state machine."""
