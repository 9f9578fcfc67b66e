"""Training of a hyper-batch ensemble: weight updates, tuning of the hyperparameters, and logs."""
