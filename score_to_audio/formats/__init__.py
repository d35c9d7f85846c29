"""Files in and out: scores, MIDI, audio, match files."""
