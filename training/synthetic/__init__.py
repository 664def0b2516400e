"""Captions burnt into footage with the truth known: what the built-in model is trained and measured on.

Read in this order: ``words`` and ``fonts`` (what is written, in what), ``lettering`` (a caption as layers), ``ground``
(what moves behind it), ``kinds`` (what a clip shows), ``clip`` (one clip with its truth), ``codec`` (VP9, as stored).
"""
