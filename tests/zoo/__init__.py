"""Small models in the styles that Keras users learn from, each made an ensemble: `python -m tests.zoo` prints a table.

Every model is a function of a penalty and a rate of dropout; some ignore one of them, as their styles do.
"""
