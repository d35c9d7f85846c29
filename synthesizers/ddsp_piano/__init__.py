"""DDSP-Piano: recurrent networks control an inharmonic additive synthesizer and filtered noise.

L. Renault, R. Mignot and A. Roebel, "Differentiable Piano Model for MIDI-to-Audio Performance Synthesis",
DAFx 2022; the same authors, "DDSP-Piano: A Neural Sound Synthesizer Informed by Instrument Knowledge", JAES
71(9), 2023. Frames of 4 ms at 16 kHz, mono.
"""
