"""A sampled grand piano: recordings of single notes that play a performance."""
