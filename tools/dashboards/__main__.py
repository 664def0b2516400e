"""Writes everything that is generated from the descriptions: ``make dashboards``."""

from pathlib import Path
from typing import Final

from tools.dashboards.boards import BOARDS
from tools.dashboards.grafana import render
from tools.dashboards.page import render_page
from tools.dashboards.prometheus import render_alerts, render_rules

ROOT: Final = Path(__file__).resolve().parents[2]


def files() -> dict[Path, str]:
    """Return the expected content of every file, by path."""
    made = {ROOT / "deploy" / "grafana" / "dashboards" / f"{board.uid}.json": render(board) for board in BOARDS}
    return made | {
        ROOT / "deploy" / "prometheus" / "recording.yml": render_rules(),
        ROOT / "deploy" / "prometheus" / "alerts.yml": render_alerts(),
        ROOT / "docs" / "alerts.md": render_page(),
    }


def main() -> None:
    """Write them."""
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
