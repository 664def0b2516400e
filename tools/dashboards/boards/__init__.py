"""The five dashboards, one a file. The tests run every expression in a real Prometheus over real workers."""

from typing import Final

from tools.dashboards.boards.delivery import DELIVERY
from tools.dashboards.boards.gpu_workers import GPU_WORKERS
from tools.dashboards.boards.overview import OVERVIEW
from tools.dashboards.boards.quality import QUALITY
from tools.dashboards.boards.replays import REPLAYS

BOARDS: Final = (OVERVIEW, GPU_WORKERS, QUALITY, DELIVERY, REPLAYS)
