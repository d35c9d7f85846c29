"""A sampled grand piano: recordings of single notes, played as a performance asks."""
