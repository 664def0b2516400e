"""The models' predictions."""

from typing import Final

from core.metrics import CONFIDENCE_BANDS
from tools.dashboards.boards.selectors import MODEL
from tools.dashboards.model import Board, Panel, Query, Row

_DOUBTFUL: Final = "|".join(band for band in CONFIDENCE_BANDS if float(band.partition("-")[2]) <= 0.9)

QUALITY: Final = Board(
    "extents-quality",
    "Extents: quality and models",
    "The predictions of all model versions, side by side. A change that no release explains is drift.",
    (
        Row(
            "Labels",
            (
                Panel(
                    "Share of each label",
                    "Over an hour, by model.",
                    "percentunit",
                    [Query(f"extents:label_share:ratio1h{{{MODEL}}}", "{{model_version}} {{label}}")],
                    runbook="ExtentsDrift",
                ),
                Panel(
                    "Difference from the last seven days",
                    "Difference of each label's share.",
                    "percentunit",
                    [
                        Query(
                            f"extents:label_share:ratio1h{{{MODEL}}} - extents:label_share:ratio7d{{{MODEL}}}",
                            "{{model_version}} {{label}}",
                        )
                    ],
                    runbook="ExtentsDrift",
                ),
                Panel(
                    "Captions a minute of film",
                    "Films of the last hour.",
                    "none",
                    [
                        Query(
                            f"60 * sum by (model_version) (increase(extents_captions_total{{{MODEL}}}[1h]))"
                            f" / (sum by (model_version) (increase(extents_film_seconds_total{{{MODEL}}}[1h])) > 0)",
                            "{{model_version}}",
                        )
                    ],
                ),
            ),
        ),
        Row(
            "Doubt",
            (
                Panel(
                    "Pairs less sure than 0.9",
                    "Share of the last hour's pairs, by direction.",
                    "percentunit",
                    [
                        Query(
                            "sum by (model_version, direction)"
                            f' (increase(extents_confidence_pairs_total{{{MODEL},confidence=~"{_DOUBTFUL}"}}[1h]))'
                            f" / (sum by (model_version, direction) (increase(extents_confidence_pairs_total{{{MODEL}}}[1h])) > 0)",
                            "{{model_version}} {{direction}}",
                        )
                    ],
                ),
                Panel(
                    "Confidence",
                    "Pairs of the last hour by the probability of their likeliest label, model beside model.",
                    "none",
                    [
                        Query(
                            f"sum by (model_version, confidence) (increase(extents_confidence_pairs_total{{{MODEL}}}[1h]))",
                            "{{model_version}} {{confidence}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Quality issues a minute of film",
                    "By model and kind; `direction_conflict`: forward and backward disagree.",
                    "none",
                    [
                        Query(
                            f"60 * sum by (model_version, kind) (increase(extents_quality_issues_total{{{MODEL}}}[1h]))"
                            " / on (model_version) group_left()"
                            f" (sum by (model_version) (increase(extents_film_seconds_total{{{MODEL}}}[1h])) > 0)",
                            "{{model_version}} {{kind}}",
                        )
                    ],
                ),
            ),
        ),
        Row(
            "Rejections",
            (
                Panel(
                    "Rejected",
                    "Share of the last hour's requests, by type.",
                    "percentunit",
                    [
                        Query(
                            "sum by (rejection_type) (increase(extents_rejections_total[1h]))"
                            " / on () group_left() (sum(increase(extents_requests_total[1h])) > 0)",
                            "{{rejection_type}}",
                        )
                    ],
                    stacked=True,
                    runbook="ExtentsRejections",
                ),
                Panel(
                    "Not acknowledged",
                    "Rejections of the last 30 days that nobody has acknowledged, by type.",
                    "none",
                    [Query("max by (rejection_type) (extents_unacknowledged_rejections)", "{{rejection_type}}")],
                    stacked=True,
                    runbook="ExtentsRejectionsUnacknowledged",
                ),
            ),
        ),
    ),
)
