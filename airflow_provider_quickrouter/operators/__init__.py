"""Tasks that make predictions."""
