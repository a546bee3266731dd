"""Makes encoders from public images; imports nothing of zoo, and nothing imports it."""
