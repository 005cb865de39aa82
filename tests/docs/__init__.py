"""Tests of the documentation: what it shows works, and what it lists is complete."""
