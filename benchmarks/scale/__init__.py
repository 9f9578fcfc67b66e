"""What ensembles cost as they grow: a model (`costs`), points that check it, and what it says of large cases."""
