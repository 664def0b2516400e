"""One Faust agent per file: admit, infer, aggregate."""
