"""Hyperparameter ensembles on tables, beside TabM and gradient boosting; see README.md beside this file."""
