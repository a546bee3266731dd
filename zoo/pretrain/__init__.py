"""Makes encoders from public images; imports nothing of zoo, and its command alone imports it."""
