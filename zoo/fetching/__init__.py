"""Turns a card into bytes that were hashed just now; knows no network architecture, never imports torch, and alone
reads from the Hub."""
