"""Runs commands against an installation."""

import asyncio
import json
from pathlib import Path
from typing import Any

from storage.database import RowsConfig
from storage.listings import Listings
from tests.cli.processes import run_extents
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS


class Terminal:
    """Runs commands against an installation, each in a separate process."""

    def __init__(self, service: Installation, folder: Path) -> None:
        self.service, self.folder = service, folder

    async def __call__(self, *arguments: str, status: int = 0) -> str:
        environment = {**self.service.processes.environment, "COLUMNS": "100"}
        done = await asyncio.to_thread(run_extents, *arguments, folder=self.folder, env=environment)
        assert done.returncode == status, done.stderr
        return done.stdout

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "--json"))

    async def until(self, replay: str, state: str) -> Any:
        """Wait for a state, and return the status as the command shows it."""
        environment = self.service.processes.environment
        config = RowsConfig(
            url=environment["SUPABASE_URL"],
            service_role_key=environment["SUPABASE_SERVICE_ROLE_KEY"],
            schema=environment["SUPABASE_SCHEMA"],
            timeout_seconds=20,
        )
        deadline = Deadline(WAIT_SECONDS)
        async with Listings(config) as listings:
            while (row := await listings.replay(replay) or {})["state"] != state:
                assert not deadline.passed, f"replay {replay} is {row['state']}, not {state}: {row}"
                await asyncio.sleep(0.2)
        return await self.json("replay", "status", replay)
