"""M2A: performance MIDI to audio by a Transformer-TTS acoustic model and a HiFi-GAN, trained together.

X. Shi, E. Cooper, X. Wang, J. Yamagishi, S. Narayanan: Can Knowledge of End-to-End Text-to-Speech Models
Improve Neural MIDI-to-Audio Synthesis Systems?, ICASSP 2023. Fine-tuned on ATEPP for J. Tang, E. Cooper,
X. Wang, J. Yamagishi, G. Fazekas: Towards an Integrated Approach for Expressive Piano Performance Synthesis
from Music Scores, ICASSP 2025, arXiv 2501.10222.
"""
