"""Turns labels, ids and answers into figures with intervals over groups; imports no other room."""
