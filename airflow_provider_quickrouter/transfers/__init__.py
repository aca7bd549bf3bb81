"""Operators that bring outputs into storage."""
