"""DExter: diffusion over a per-note performance codec, conditioned on a per-note score codec.

H. Zhang, S. Chowdhury, C. E. Cancino-Chacón, J. Liang, S. Dixon, G. Widmer: DExter: Learning and Controlling
Performance Expression with Diffusion Models, Applied Sciences 14(15) 6543, 2024, arXiv 2406.14850.
"""
