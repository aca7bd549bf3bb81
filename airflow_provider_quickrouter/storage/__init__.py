"""Files of an output: fetched from where they lie for an hour, kept in one's own storage."""
