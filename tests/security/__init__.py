"""Hostile input, least privileges and TLS."""
