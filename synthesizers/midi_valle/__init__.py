"""MIDI-VALLE: Tang, Wang, Zhang, Yamagishi, Wiggins and Fazekas, "MIDI-VALLE: Improving Expressive Piano
Performance Synthesis Through Neural Codec Language Modelling", ISMIR 2025 (arXiv 2507.08530)."""
