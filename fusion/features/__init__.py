"""Puts images through frozen encoders, in batches, once; never a label."""
