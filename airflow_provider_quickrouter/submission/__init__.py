"""One paid prediction for one task over all its attempts."""
