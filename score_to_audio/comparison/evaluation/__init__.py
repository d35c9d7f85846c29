"""Metrics of sound and performance, and their statistics."""
