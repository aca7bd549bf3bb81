"""Predictions in the words of TaskFlow: a decorator, and a task group in one line."""
