"""Draws what a dashboard's panels would show, for viewing without Grafana."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from tools.dashboards.model import Panel

WIDTH, HEIGHT = 560, 160
_COLOURS: Final = ("#0b62a8", "#c02f1d", "#00795a", "#a86400", "#7a3fa0", "#4a5560", "#1a9aa8", "#b03a74")
_UNITS: Final = {"percentunit": (100, " %"), "s": (1, " s"), "bytes": (1e-6, " MB"), "Bps": (1e-6, " MB/s"), "currencyUSD": (1, " $")}

Drawn = tuple[Panel, Sequence[tuple[str, Sequence[tuple[float, float]]]]]
"""A panel, and its series: name, and points of time and value."""


def series_of(results: Sequence[tuple[str, list[dict[str, Any]]]]) -> list[tuple[str, list[tuple[float, float]]]]:
    """Name series by each query's legend, and leave out gaps."""
    series = []
    for legend, result in results:
        for each in result:
            name = legend
            for label, value in each["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(float(at), float(value)) for at, value in each["values"]]
            series.append((name, [(at, value) for at, value in points if math.isfinite(value)]))
    return series


def page(title: str, drawn: Sequence[Drawn]) -> str:
    """An HTML page with a chart for each panel."""
    grid = f"body{{font:13px sans-serif;display:grid;grid-template-columns:{WIDTH}px {WIDTH}px;gap:14px;margin:14px}}"
    text = "h1{grid-column:1/3;margin:0}p{margin:0}.legend{margin-left:50px;font-size:11px}span{margin-right:8px}"
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{grid}{text}</style>"
    return f"{head}<h1>{title}</h1>{''.join(_chart(*each) for each in drawn)}"


def _chart(panel: Panel, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    scale, unit = _UNITS.get(panel.unit, (1, ""))
    points = [point for _, each in series for point in each]
    first, last = min((at for at, _ in points), default=0), max((at for at, _ in points), default=1)
    top = max((value for _, value in points), default=0) * scale or 1
    lines, legend = [], []
    for number, (name, each) in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = " ".join(
            f"{50 + (WIDTH - 60) * (at - first) / max(1, last - first):.1f},{150 - 130 * value * scale / top:.1f}" for at, value in each
        )
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{places}"/>')
        value = f"{each[-1][1] * scale:.4g}{unit}" if each else "no value"
        legend.append(f'<span style="color:{colour}">{escape(name or panel.title)} {value}</span>')
    frame = f'<path d="M50 20V150H{WIDTH - 10}" fill="none" stroke="#aaa"/>'
    axis = f'<text x="4" y="24">{top:.3g}{unit}</text><text x="4" y="153">0</text>{frame}'
    chart = f'<svg width="{WIDTH}" height="{HEIGHT}">{axis}{"".join(lines)}</svg><p class="legend">{" ".join(legend)}</p>'
    return f"<div><b>{escape(panel.title)}</b><p>{escape(panel.description)}</p>{chart}</div>"
