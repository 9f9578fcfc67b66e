"""Selection of members on small validation sets: rules and temperatures, on predictions of trained models."""
