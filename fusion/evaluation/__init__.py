"""Turns labels and answers into figures with intervals over groups; pure arrays, imports no other room."""
