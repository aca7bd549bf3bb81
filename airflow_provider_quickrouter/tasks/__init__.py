"""What every task does: arguments, input files, reporting."""
