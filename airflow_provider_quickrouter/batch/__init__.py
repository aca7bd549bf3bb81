"""Many predictions in one task: the record of its items, and what creates and polls them."""
