"""Making the built-in model: fonts, clips, training and measuring. Run as ``python -m training``."""
