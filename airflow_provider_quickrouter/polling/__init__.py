"""Polling predictions: when to poll, how often at most, and one loop for many waits."""
