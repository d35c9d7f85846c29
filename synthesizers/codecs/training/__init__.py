"""Training EnCodec: Défossez et al., "High Fidelity Neural Audio Compression", TMLR 2023, section 3."""
