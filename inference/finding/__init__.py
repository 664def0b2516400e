"""Finds a film's captions in one pass: where they are, when they begin and end, and stills to read them from."""
