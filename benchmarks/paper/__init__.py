"""The comparison of the paper (table 1, figures 1 and 4) on any TFDS data set; see README.md beside this file."""
