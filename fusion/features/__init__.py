"""Puts images through frozen encoders, in batches, once, and keeps what came out; never a label."""
