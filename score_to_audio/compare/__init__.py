"""Combinations side by side: what is compared, how it is made and measured, and what comes out."""
