"""Comparison of the paper (its table 1 and figure 1) on any TFDS dataset; see README.md in this folder."""
