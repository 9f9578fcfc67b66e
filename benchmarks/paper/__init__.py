"""The comparison of the paper (its table 1 and figure 1) on any TFDS data set; see README.md beside this file."""
