"""Reads arguments, calls one function, says what came out; decides nothing."""
