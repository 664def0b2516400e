"""A worker process of one processor whose handler raises: for the test that the process ends. Takes the topic's name."""

import sys

from faust.types import EventT
from mode.worker import Worker

from core.logging import configure_logging
from core.settings import Settings
from streams.processing.app import make_app
from streams.processing.ordered_processor import OrderedProcessor
from streams.runtime.assignment import Assignment
from streams.topics import Topics

ROLE = "processor-test"


async def crash(event: EventT[bytes], assignment: Assignment) -> None:
    raise RuntimeError("handler broke")


def main(topic: str) -> None:
    settings = Settings()
    configure_logging(settings.process)
    app = make_app(ROLE, settings.kafka, Topics(settings.topics), partitions=2)
    processor = OrderedProcessor(app, topic, crash, 10)

    @app.agent(app.raw_topic(topic), name="follow")
    async def follow(stream) -> None:
        await processor.consume(stream)

    Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1])
