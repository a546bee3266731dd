"""Runs a grid of fits that survives any end, and chooses before it opens the test part; all it writes goes through its
folder."""
