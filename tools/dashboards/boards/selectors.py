"""The variables of the dashboards as selectors, and queries that several of them share."""

from typing import Final

from tools.dashboards.model import Query

PRIORITY: Final = 'priority=~"$priority"'
MODEL: Final = 'model_version=~"$model"'
WORKER: Final = 'instance=~"$worker"'


def quantiles(metric: str, selector: str, by: str = "") -> list[Query]:
    grouping = f"le, {by}" if by else "le"
    name = f" {{{{{by}}}}}" if by else ""
    return [
        Query(f"histogram_quantile({share}, sum by ({grouping}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))", f"{label}{name}")
        for share, label in ((0.5, "half within"), (0.95, "95 % within"))
    ]
