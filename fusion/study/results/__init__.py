"""Reads a study's folder, judges and tells; fits nothing."""
