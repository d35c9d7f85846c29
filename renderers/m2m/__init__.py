"""M2M: a small encoder that labels every note of a score with velocity, interval to the next and duration.

Tang, Cooper, Wang, Yamagishi, Fazekas: Towards an Integrated Approach for Expressive Piano Performance
Synthesis from Music Scores, ICASSP 2025, arXiv 2501.10222.
"""
