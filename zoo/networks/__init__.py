"""Knows timm's networks as blocks: builds, cuts, renames, pools; never reads a file."""
