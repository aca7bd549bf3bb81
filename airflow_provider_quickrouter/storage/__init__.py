"""Download the files of an output, which the API deletes after an hour, to object storage."""
