"""Tells what was found, in words, charts and pages; computes no figure, runs no model."""
