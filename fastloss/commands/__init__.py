"""What the commands do whose arguments cli.py reads: one module for each, and what they share."""
