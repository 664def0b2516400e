"""Trains and evaluates the built-in model on synthetic clips. Run as ``python -m training``."""
