"""A worker process of one lane whose handler raises: for the test that the process ends. Takes the topic's name."""

import sys

from faust.types import EventT
from mode.worker import Worker

from core.logging import configure_logging
from core.settings import Settings
from streams.app import Tenure, make_app
from streams.lane import Lane
from streams.topics import Topics

ROLE = "lane-test"


async def crash(event: EventT[bytes], tenure: Tenure) -> None:
    raise RuntimeError("handler broke")


def main(topic: str) -> None:
    settings = Settings()
    configure_logging(settings.process)
    app = make_app(ROLE, settings.kafka, Topics(settings.topics), partitions=2)
    lane = Lane(app, topic, crash, 10)

    @app.agent(app.raw_topic(topic), name="follow")
    async def follow(stream) -> None:
        await lane.follow(stream)

    Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1])
