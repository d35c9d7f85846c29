"""Pianist Transformer: an encoder-decoder that rewrites a score note by note as a performance.

You, Shao, Yang, Jia, Guo, Li: Pianist Transformer, arXiv 2512.02652.
"""
