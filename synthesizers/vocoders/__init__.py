"""Vocoders: spectra to sound."""
