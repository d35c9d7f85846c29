"""What is used where nothing is chosen; apart, so that the command line starts without importing stages."""

RENDERER = "kth-rules"
SYNTHESIZER = "sampled-piano"
SHARD = 100
"""Scores of a batch that are submitted at once."""
