"""Builds dashboards for Grafana, with Grafana's own typed builders."""

import os
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType, DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.dashboard import DashboardLink as Link

from tools.dashboards.model import Board, Panel, Query

RUNBOOK_URL: Final = os.environ.get("RUNBOOK_URL") or "docs/alerts.md"
"""Where the page of alerts is published: ``make dashboards RUNBOOK_URL=https://…``. By default its path in this repository."""

DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

_CHART_WIDTH, _CHART_HEIGHT = 12, 8  # of Grafana's 24 columns
_FIGURE_WIDTH, _FIGURE_HEIGHT = 4, 5

ANNOTATIONS: Final = {
    "Replays": 'max(extents_replays{state="running"}) > 0 unless max(extents_replays{state="running"} offset 1m) > 0',
    "Promotions": "time() - max by (model_version) (extents_last_promotion_timestamp_seconds) < 60",
    "Models loaded": "count by (model_version) (extents_model_info) unless count by (model_version) (extents_model_info offset 5m)",
}
"""Events that every dashboard marks: a replay begins, a model is promoted or rolled back, a worker loads a new model."""

_ANNOTATION_COLOURS: Final = {"Replays": "orange", "Promotions": "green", "Models loaded": "purple"}

_VARIABLES: Final = {
    "priority": ("Priority", "extents_spans_held"),
    "model": ("Model", "extents_label_pairs_total"),
    "worker": ("GPU worker", "extents_batch_size"),
}
"""By the name of the variable: its title, and a metric whose label gives its values."""

_LABEL_OF: Final = {"priority": "priority", "model": "model_version", "worker": "instance"}


def render(board: Board) -> str:
    """The dashboard's JSON."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["extents"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Environment").type("prometheus"))
        .link(dashboard.DashboardLink("Extents").type(DashboardLinkType.DASHBOARDS).tags(["extents"]).as_dropdown(True).keep_time(True))
        .link(dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url(RUNBOOK_URL).target_blank(True))
    )
    for name, expr in ANNOTATIONS.items():
        built = built.annotation(_annotation(name, expr, _ANNOTATION_COLOURS[name]))
    for name in _used_variables(board):
        built = built.with_variable(_variable(name))
    for row in board.rows:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_figure(panel) if panel.kind == "figure" else _chart(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _used_variables(board: Board) -> list[str]:
    text = " ".join(query.expr for panel in board.panels for query in panel.queries)
    return [name for name in _VARIABLES if f"${name}" in text]


def _variable(name: str) -> dashboard.QueryVariable:
    title, metric = _VARIABLES[name]
    return (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(DATASOURCE)
        .query(f"label_values({metric}, {_LABEL_OF[name]})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _annotation(name: str, expr: str, colour: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).expr(expr).icon_color(colour)


def _chart(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(DATASOURCE)
        .unit(panel.unit)
        .min(0)
        .span(_CHART_WIDTH)
        .height(_CHART_HEIGHT)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .fill_opacity(30 if panel.stacked else 0)
        .links(_links(panel))
    )
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if any(" - " in query.expr for query in panel.queries):
        made = made.min(-1)
    for place, query in enumerate(panel.queries):
        made = made.with_target(_target(place, query))
    return made


def _figure(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(DATASOURCE)
        .unit(panel.unit)
        .span(_FIGURE_WIDTH)
        .height(_FIGURE_HEIGHT)
        .text_mode(BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("–")
        .links(_links(panel))
    )
    for place, query in enumerate(panel.queries):
        made = made.with_target(_target(place, query))
    return made


def _target(place: int, query: Query) -> prometheus.Dataquery:
    name = query.legend or "__auto"
    return prometheus.Dataquery().expr(query.expr).legend_format(name).ref_id(chr(ord("A") + place)).range().datasource(DATASOURCE)


def _links(panel: Panel) -> list[Builder[Link]]:
    if panel.runbook is None:
        return []
    url = f"{RUNBOOK_URL}#{panel.runbook.lower()}"
    return [dashboard.DashboardLink("Runbook").type(DashboardLinkType.LINK).url(url).target_blank(True)]
