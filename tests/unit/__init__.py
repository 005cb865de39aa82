"""Modules that need no Redis."""
