"""How a hyper-batch ensemble is trained: the update of its weights, the tuning of its hyperparameters, the logs."""
