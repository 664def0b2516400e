"""A worker process whose handler fails; its arguments are the topic's name and the way in which it fails."""

import os
import signal
import sys
from functools import partial

from mode.worker import Worker

from core.errors import ConfigurationError
from core.logging import configure_logging
from core.settings import Settings
from streams.policy.dead_letters import unexpected_letter
from streams.policy.record_failures import FailurePolicy
from streams.processing.app import make_app
from streams.processing.failed_records import FailedRecords
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.producer import Producer
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment
from streams.topics import Topics

ROLE = "processor-test"
POLICY = FailurePolicy(tries=3, in_a_row=4, per_thousand=1000)


async def give_up(publisher: Publisher, record: ReceivedRecord, assignment: Assignment, error: Exception, tries: int) -> None:
    await publisher.dead_letter(assignment, unexpected_letter(record, error, tries))


async def fail(how: str, record: ReceivedRecord, assignment: Assignment) -> None:
    """Fail for records that begin with ``bad``; handle all others."""
    if not (record.value or b"").startswith(b"bad"):
        return
    sys.stderr.write(f"tried {record.offset}\n")
    match how:
        case "configuration":
            raise ConfigurationError("WASABI_BUCKET is wrong")
        case "disk":
            raise OSError(28, "No space left on device")
        case "memory":
            raise MemoryError
        case "kill":
            counted = fail.__dict__["tries"] = fail.__dict__.get("tries", 0) + 1
            if counted == 2:
                os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("handler broke")


def main(topic: str, how: str) -> None:
    settings = Settings()
    configure_logging(settings.process)
    topics = Topics(settings.topics)
    app = make_app(ROLE, settings.kafka, topics, partitions=2)
    failed = FailedRecords(app, POLICY, partial(give_up, Publisher(topics, Producer(app))))
    processor = OrderedProcessor(app, topic, partial(fail, how), 1, failed)

    @app.agent(app.raw_topic(topic), name="follow")
    async def follow(stream) -> None:
        await processor.consume(stream)

    Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
