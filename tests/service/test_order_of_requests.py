"""Requests of one video are decided in the order in which they were published."""

import psycopg
import pytest
from psycopg import sql

from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 40


async def test_a_forced_request_does_not_overtake_the_plain_one_before_it(service: Installation) -> None:
    """The forced request is decided last although the plain one takes longer to look up, so the video's row is that of the forced run."""
    video_id = await service.add(video(FRAMES))
    slow = Fault("storage.rows:Rows.find_run", "before", (str(video_id),), how="pause")  # a forced request looks for no run
    plain = await service.submit(video_id, FRAMES)
    forced = await service.submit(video_id, FRAMES, force=True)
    service.processes.start("coordinator", slow, EXTENTS_RATE_LIMIT_SECONDS="0")
    service.processes.start("gpu")
    outcomes = [await service.ledger.outcome(published) for published in (plain, forced)]
    assert [outcome.name for outcome in outcomes] == ["inference.completed"] * 2
    async with await psycopg.AsyncConnection.connect(service.verifier.dsn) as connection:
        requests = sql.Identifier(service.verifier.schema, "caption_frame_extents_inference_requests")
        query = sql.SQL("select source_offset from {} where video_id = %s order by sequence").format(requests)
        decided = await (await connection.execute(query, [video_id])).fetchall()
    assert [offset for (offset,) in decided] == [plain.offset, forced.offset]
    for outcome in outcomes:
        await service.ledger.finished(outcome.body["run_id"])
    assert await service.verifier.run_row(outcomes[1].body["run_id"]) is not None
    await service.verify()
