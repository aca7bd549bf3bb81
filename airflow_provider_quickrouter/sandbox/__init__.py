"""A local gateway that speaks the API, for demos and tests; nothing of the package imports it."""
