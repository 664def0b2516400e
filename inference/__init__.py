"""From bytes to predictions: decoding, preprocessing and networks. The only package that imports torch and av."""
