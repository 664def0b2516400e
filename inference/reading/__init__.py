"""Readers: from a still of a caption to its words. An entry point selects the reader, so that others may be installed beside ours."""
