"""Sets the state of each video when its inference ends: a consumer of ``inference.completed`` and ``inference.failed``.

    python examples/update_videos.py localhost:9092 "postgresql://…" [schema] [topic prefix]

Events may repeat with the same ``ce_id``. Offsets are committed after the update, so no event is lost, and a repeated
update changes nothing.
"""

import asyncio
import json
import sys

import psycopg
from aiokafka import AIOKafkaConsumer
from psycopg import sql

TOPICS = ("inference.completed", "inference.failed")
UPDATE = "update {}.videos set boundaries_status = %s, boundaries_error = %s, current_cropped_frames_version = %s where id = %s"


async def main(brokers: str, database: str, schema: str = "public", prefix: str = "") -> None:
    consumer = AIOKafkaConsumer(
        *(prefix + topic for topic in TOPICS),
        bootstrap_servers=brokers,
        group_id=f"{prefix}update-videos",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer, await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        update = sql.SQL(UPDATE).format(sql.Identifier(schema))
        async for record in consumer:
            event = json.loads(record.value)
            done = record.topic.endswith(TOPICS[0])
            state = ("annotate", None) if done else ("error", event["reason"])
            await connection.execute(update, (*state, event["cropped_frames_version"], event["video_id"]))
            await consumer.commit()
            print(event["video_id"], *state, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
