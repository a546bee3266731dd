"""Knows what is written about a checkpoint and what its licences permit; never opens weights, the network or torch."""
