"""Says which encoders to fuse, cut where, before any training; trains no encoder."""
