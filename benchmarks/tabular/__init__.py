"""Hyperparameter ensembles on tables, compared with TabM and gradient boosting; see README.md in this directory."""
