"""Bytes in, predictions out: decoding, preprocessing and the networks. The only importer of torch and av."""
