"""Knows images, labels and groups: reads, checks, splits, draws, varies; never an encoder, never a model."""
