"""How a run was computed, for people."""

from core.provenance import readable_provenance


def test_seconds_are_rounded_to_milliseconds():
    """Seconds have three decimals; other values, and those that are no number, are printed as they are."""
    provenance = {"gpu_seconds": "1.2300314199965214", "precision": "float32", "their_seconds": "many", "note": "", "video_id": "v"}
    assert readable_provenance(provenance) == [("gpu_seconds", "1.230"), ("precision", "float32"), ("their_seconds", "many")]
