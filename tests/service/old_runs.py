"""Runs of the former service, with the rows that exist when ours is installed."""

from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from inference.models.builtin import builtin_model_version
from tests.service.installation import Installation
from tests.service.videos import VERSION


async def insert_old_run(service: Installation, video_id: UUID, key: str, frame_count: int) -> None:
    """Insert a row as the former service wrote it."""
    values = {
        "run_id": str(uuid4()),
        "video_id": video_id,
        "tenant_id": service.tenant_id,
        "cropped_frames_version": VERSION,
        "model_version": builtin_model_version(),
        "wasabi_storage_key": key,
        "total_pairs": frame_count - 1,
        "started_at": "2024-01-02T03:04:05Z",
        "completed_at": "2024-01-02T03:05:05Z",
    }
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn, autocommit=True) as connection:
        table = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_runs")
        columns = sql.SQL(", ").join(map(sql.Identifier, values))
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        await connection.execute(sql.SQL("insert into {} ({}) values ({})").format(table, columns, marks), list(values.values()))
