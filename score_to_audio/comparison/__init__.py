"""Combinations of renderers and synthesizers side by side: plans, metrics, page, votes."""
