"""Triggers that wait: thousands of them on one event loop, each contender in its own process."""
