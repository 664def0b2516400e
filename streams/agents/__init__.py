"""One Faust agent a file: admit, infer, aggregate."""
