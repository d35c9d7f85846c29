"""Reads scores: MusicXML, MEI and MIDI files to ``ParsedScore``."""
