"""Readers: from a still of a caption to its words. What reads is chosen by an entry point, so others may be installed beside ours."""
