"""Turns features into probabilities; never an image, never an encoder, never the disc."""
