"""Checks whether an installation has kept its promises, using only its topics, its store and its database.

Every record of ``video.encoded*`` has one outcome, with one ``ce_id``; every run that was completed has one verified
object, its row and its job; every dead letter stands for something that could not be done. Neither the service nor
its metrics are consulted.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from aiokafka import ConsumerRecord
from psycopg import sql
from psycopg.rows import dict_row

from core.errors import PoisonError
from core.identity import parse_uuid, request_id
from core.types import Priority
from storage.keys import Keys
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db
from streams.gpu_worker.span_log import WorkDelivery
from streams.kafka.client import ReceivedOutcome
from streams.kafka.dead_letter_reader import MARK_HEADER
from streams.policy.record_failures import UNEXPECTED
from streams.received import ReceivedRecord
from streams.records import RunFinished, RunStarted, VideoEncoded, Work, decode, decode_log
from tests.service.last_straw import failed_by_a_span
from tests.service.ledger import Ledger, record_position

Row = dict[str, Any]

_ROWS: Final = {"requests": "request_id", "runs": "run_id", "jobs": "run_id", "rejections": "id"}
"""Tables, and the column that identifies their rows here."""

_OURS: Final = ("inference.work.high", "inference.work.low", "inference.results")

_OF_OURS: Final = """
select * from {table} where {column} in (select request_id from {requests} where starts_with(source_topic, %s))
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts of an installation that has kept its promises.

    Attributes:
        outcomes: the one of each request, by its id; of a record without ids, by its place.
        runs: the database of each completed run that is still its video's latest, by run_id.
        letters: dead letters by the place they were first read from.
    """

    outcomes: Mapping[str, ReceivedOutcome]
    runs: Mapping[str, RunDatabase]
    letters: Mapping[str, list[ConsumerRecord]]


@dataclass(slots=True)
class Verifier:
    """Reads one installation. ``dsn`` connects to the database directly, past its API."""

    ledger: Ledger
    store: ObjectStore
    keys: Keys
    dsn: str
    schema: str
    faulty: bool = False
    """Whether workers run with faults that make dead letters with the reason ``unexpected``."""

    async def verify(self) -> Evidence:
        """Check every promise about an installation at rest: everything published has its outcome.

        Raises:
            AssertionError: something is missing or exists twice; names it.
        """
        ledger = self.ledger
        await ledger.read_all()
        requests = self._requests()
        outcomes = _outcomes(requests, ledger.outcomes)
        rows = await self._rows()
        _check_requests(requests, outcomes, rows)
        runs = await self._check_runs(outcomes, rows)
        self._check_logs(outcomes)
        letters = self._check_letters(requests, outcomes)
        return Evidence(outcomes, runs, letters)

    def unanswered(self) -> list[str]:
        """Requests among the records read so far that have no outcome yet."""
        answered = {name for outcome in self.ledger.outcomes for name in _answered(outcome)}
        return [name for name in self._requests() if name not in answered]

    async def rejection(self, request_id: str) -> Row | None:
        """The row of a rejected request."""
        return (await self._rows())["rejections"].get(request_id)

    async def run_row(self, run_id: str) -> Row | None:
        """The row of a finished run."""
        return (await self._rows())["runs"].get(run_id)

    def _requests(self) -> dict[str, ConsumerRecord]:
        """The first record of each request."""
        requests: dict[str, ConsumerRecord] = {}
        for record in (*self.ledger.records["video.encoded"], *self.ledger.records["video.encoded.low"]):
            requests.setdefault(_request_name(record), record)
        return requests

    async def _rows(self) -> dict[str, dict[str, Row]]:
        """Rows of this installation's requests and their runs: by request, by run, by run, by request."""
        prefix, tables = self.ledger.topics.settings.topic_prefix, {}
        async with await psycopg.AsyncConnection.connect(self.dsn, row_factory=dict_row) as connection:
            for table, column in _ROWS.items():
                query = sql.SQL(_OF_OURS).format(
                    table=sql.Identifier(self.schema, f"caption_frame_extents_inference_{table}"),
                    requests=sql.Identifier(self.schema, "caption_frame_extents_inference_requests"),
                    column=sql.Identifier("id" if table == "rejections" else "request_id"),
                )
                cursor = await connection.execute(query, [prefix])
                tables[table] = {str(row[column]): row for row in await cursor.fetchall()}
        return tables

    async def _check_runs(self, outcomes: Mapping[str, ReceivedOutcome], rows: Mapping[str, Mapping[str, Row]]) -> dict[str, RunDatabase]:
        """Check each completed run: its object, its job, and the row of a video's latest run."""
        databases: dict[str, RunDatabase] = {}
        computed = {o.body["run_id"]: o for o in self.ledger.outcomes if o.name == "inference.completed" and not o.body["deduplicated"]}
        sequence = {name: row["sequence"] for name, row in rows["requests"].items()}
        latest: dict[tuple[Any, ...], str] = {}
        for run_id, outcome in sorted(computed.items(), key=lambda item: sequence[str(rows["jobs"][item[0]]["request_id"])]):
            body = outcome.body
            latest[body["video_id"], body["cropped_frames_version"], body["model_version"]] = run_id
            data = await self.store.get(body["storage_key"], MAX_RUN_DB_BYTES)
            actual = hashlib.sha256(data).hexdigest()
            assert actual == body["sha256"], f"run {run_id}: the object has SHA-256 {actual}, its event says {body['sha256']}"
            database = read_run_db(data, body["storage_key"])
            job = rows["jobs"][run_id]
            assert (database.run_id, database.attempt, database.pairs) == (run_id, body["attempt"], body["pairs"])
            assert (job["status"], job["attempt"]) == ("completed", body["attempt"]), f"run {run_id}: its job is {job['status']}"
            assert job["pairs_total"] == job["pairs_done"] == database.pairs, f"run {run_id}: {job['pairs_done']} pairs done in its job"
            databases[run_id] = database
        assert sorted(rows["runs"]) == sorted(latest.values()), "the run rows are not those of the latest runs of their videos"
        for run_id in latest.values():
            row, body = rows["runs"][run_id], computed[run_id].body
            described = {"wasabi_storage_key": "storage_key", "sha256": "sha256", "file_size_bytes": "size_bytes", "total_pairs": "pairs"}
            assert {column: row[column] for column in described} == {column: body[name] for column, name in described.items()}
            assert rows["jobs"][run_id]["inference_run_id"] == row["id"]
        for outcome in outcomes.values():
            if outcome.name == "inference.completed":
                assert outcome.body["run_id"] in databases or outcome.body["deduplicated"]
        await self._check_objects(computed)
        return databases

    async def _check_objects(self, computed: Mapping[str, ReceivedOutcome]) -> None:
        """Check that there are no objects except announced ones."""
        expected = {(o.body["tenant_id"], o.body["video_id"]): set[str]() for o in self.ledger.outcomes if "run_id" in o.body}
        for outcome in computed.values():
            expected[outcome.body["tenant_id"], outcome.body["video_id"]].add(outcome.body["storage_key"])
        for (tenant_id, video_id), announced in expected.items():
            prefix = self.keys.layout(UUID(tenant_id), UUID(video_id)).removesuffix("layout.db") + "caption_frame_extents/"
            stored = {key async for key in self.store.list_keys(prefix)}
            assert stored == announced, f"video {video_id}: objects {sorted(stored)}, announced were {sorted(announced)}"

    def _check_logs(self, outcomes: Mapping[str, ReceivedOutcome]) -> None:
        """Check each run: started before anything was taken, every span done, and its end recorded."""
        announced = defaultdict(set)
        for outcome in self.ledger.outcomes:
            if outcome.name != "inference.rejected":
                announced[outcome.body["run_id"]].add(outcome.name)
        for run_id, names in announced.items():
            log = self.ledger.log(run_id)
            if not log:  # found, and computed by somebody else
                assert names == {"inference.completed"}
                continue
            kinds = [record.kind for record in log]
            started = [record for record in log if isinstance(record, RunStarted)]
            if "span_taken" in kinds:
                assert kinds.index("run_started") < kinds.index("span_taken"), f"run {run_id}: a span was taken before its run was started"
            ends = {record.outcome.value for record in log if isinstance(record, RunFinished)}
            assert ends, f"run {run_id} was announced and never finished"
            if "completed" in ends:
                spans = -(-(started[0].frame_count - 1) // 512)
                done = {record.span for record in self.ledger.spans(run_id)[1]}
                assert done == set(range(spans)), f"run {run_id}: of {spans} spans {sorted(done)} are done"

    def _unreadable(self) -> set[str]:
        """The positions of records in our topics that the service did not write."""
        records = ((topic, record) for topic in _OURS for record in self.ledger.records[topic])
        return {
            record_position(record.topic, record.partition, record.offset) for topic, record in records if not _is_readable(topic, record)
        }

    def _check_letters(
        self, requests: Mapping[str, ConsumerRecord], outcomes: Mapping[str, ReceivedOutcome]
    ) -> dict[str, list[ConsumerRecord]]:
        """Check that dead letters are unreadable records, or one of each run that failed by a span, with their records' bytes."""
        letters: dict[str, list[ConsumerRecord]] = defaultdict(list)
        for letter in self.ledger.records["inference.dead-letter"]:
            if MARK_HEADER not in dict(letter.headers):
                letters[dict(letter.headers)["origin"].decode()].append(letter)
        records = {record_position(r.topic, r.partition, r.offset): r for records in self.ledger.records.values() for r in records}
        of_runs: dict[tuple[str, int], set[str]] = defaultdict(set)
        of_nobody = set[str]()
        for origin, copies in letters.items():
            record = records[origin]
            for letter in copies:
                assert (letter.key, letter.value) == (record.key, record.value or b""), f"the dead letter of {origin} has other bytes"
                assert set(record.headers) <= set(letter.headers), f"the dead letter of {origin} lacks headers"
                if dict(letter.headers)["reason"] == UNEXPECTED.encode():
                    assert self.faulty, f"{origin} failed unexpectedly: {dict(letter.headers)}"
                elif "run_id" not in dict(letter.headers):
                    of_nobody.add(origin)
                else:
                    work = decode(Work, letter.value)
                    assert dict(letter.headers)["run_id"].decode() == str(work.run_id)
                    of_runs[str(work.run_id), work.attempt].add(origin)
        unreadable = {name for name in requests if "/" in name} | self._unreadable()
        assert of_nobody == unreadable, f"dead letters of no run are of {sorted(of_nobody)}, unreadable are {sorted(unreadable)}"
        failed = {(o.body["run_id"], o.body["attempt"]) for o in outcomes.values() if o.name == "inference.failed"}
        by_span = {(run_id, attempt) for run_id, attempt in failed if failed_by_a_span(self.ledger.log(run_id), attempt)}
        assert set(of_runs) == by_span, f"dead letters are of runs {sorted(of_runs)}, failed by a span have {sorted(by_span)}"
        assert all(len(origins) == 1 for origins in of_runs.values()), f"more than one dead letter of a run: {dict(of_runs)}"
        return letters


def _is_readable(topic: str, record: ConsumerRecord) -> bool:
    try:
        if topic == "inference.results":
            decode_log(record.value)
        else:
            decode(Work, record.value)
            WorkDelivery.of(received(record), Priority.HIGH)
    except PoisonError:
        return False
    return True


def received(record: ConsumerRecord) -> ReceivedRecord:
    headers = {name: value or b"" for name, value in record.headers}
    return ReceivedRecord(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers)


def _request_name(record: ConsumerRecord) -> str:
    """The request in a record, or its position if it has no ids."""
    here = record_position(record.topic, record.partition, record.offset)
    try:
        fields = orjson.loads(record.value or b"")
        tenant_id, video_id = parse_uuid(fields["tenant_id"]), parse_uuid(fields["video_id"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return here
    try:
        version = decode(VideoEncoded, record.value).cropped_frames_version
    except PoisonError:
        version = fields.get("cropped_frames_version")
        version = version if type(version) is int else 0
    event_id = fields.get("event_id")
    return str(request_id(tenant_id, video_id, version, event_id if isinstance(event_id, str) and event_id else here))


def _outcomes(requests: Mapping[str, ConsumerRecord], announced: list[ReceivedOutcome]) -> dict[str, ReceivedOutcome]:
    """Check that each request has one outcome."""
    by_id: dict[str, ReceivedOutcome] = {}
    answers: dict[str, set[str]] = defaultdict(set)
    for outcome in announced:
        ce_id = outcome.headers["ce_id"]
        before = by_id.setdefault(ce_id, outcome)
        assert _apart_from_requests(before) == _apart_from_requests(outcome), f"{ce_id} says two things: {before}, {outcome}"
        for name in _answered(outcome):
            answers[name].add(ce_id)
    assert set(answers) <= set(requests), f"outcomes of requests that nobody made: {sorted(set(answers) - set(requests))}"
    for name, record in requests.items():
        assert len(answers[name]) == 1, f"request {name}, {record.value!r}: {[by_id[ce_id] for ce_id in answers[name]]}"
    return {name: by_id[next(iter(answers[name]))] for name in requests}


def _apart_from_requests(outcome: ReceivedOutcome) -> ReceivedOutcome:
    """A request that joined in the meantime is named when an outcome is announced again."""
    return replace(outcome, body={name: value for name, value in outcome.body.items() if name != "requests"})


def _answered(outcome: ReceivedOutcome) -> list[str]:
    body = outcome.body
    if "requests" in body:
        return [ref["request_id"] for ref in body["requests"]]
    return [body.get("request_id") or record_position(body["source_topic"], body["source_partition"], body["source_offset"])]


def _check_requests(
    requests: Mapping[str, ConsumerRecord], outcomes: Mapping[str, ReceivedOutcome], rows: Mapping[str, Mapping[str, Row]]
) -> None:
    """Check the decision about each request, and the row of a rejected one."""
    identified = {name for name in requests if "/" not in name}
    assert set(rows["requests"]) == identified, "the rows of requests are not those of the requests published"
    assert set(rows["rejections"]) == {name for name in identified if outcomes[name].name == "inference.rejected"}
    for name in identified:
        decision, outcome = rows["requests"][name]["decision"], outcomes[name]
        if outcome.name == "inference.rejected":
            assert decision == "rejected"
            row = rows["rejections"][name]
            assert (row["rejection_type"], row["rejection_message"]) == (outcome.body["rejection_type"], outcome.body["message"])
            continue
        assert decision in ("run", "join", "found"), f"request {name} was decided as {decision} and has {outcome}"
        assert rows["requests"][name]["run_id"] == outcome.body["run_id"]
        job = rows["jobs"].get(outcome.body["run_id"])
        if job is not None and outcome.name == "inference.failed" and job["attempt"] == outcome.body["attempt"]:
            assert (job["status"], job["error_message"]) == ("failed", outcome.body["reason"])
