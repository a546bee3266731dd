"""Turns image files into arrays and tensors exactly as a card says; knows no encoder, guesses nothing from values."""
