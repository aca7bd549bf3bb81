"""The stock way and ours, side by side: the same prompts, faults and kills, on one machine."""
