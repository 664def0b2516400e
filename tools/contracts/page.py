"""The page to read: topics, rules, how to ask for a run."""

from typing import Final

from streams.topics import DAY_MS, TopicSpec
from tools.contracts.channels import CHANNELS, Channel, default_specs

_PAGE: Final = """\
# Contracts

Made by `.venv/bin/python -m tools.contracts` from [the record types](../../streams/records.py) and [the topics](../../streams/topics.py);
a test fails when it is not up to date. The same for tools: [`asyncapi.json`](asyncapi.json) (AsyncAPI 3) and JSON Schema
(draft 7) under [`schemas/`](schemas), each with examples.

| topic | key | written by → read by | partitions | kept | value |
| --- | --- | --- | ---: | ---: | --- |
{rows}

`admit`, `aggregate` and `finish` are parts of the coordinator, `infer` is the GPU worker, *platform* is everything else. Numbers
of partitions are defaults (`EXTENTS_REQUEST_PARTITIONS`, `EXTENTS_WORK_PARTITIONS`, `EXTENTS_RESULTS_PARTITIONS`); every name takes
the prefix `EXTENTS_TOPIC_PREFIX`.

## Rules

- Values are JSON objects in UTF-8. `schema_version` is 1. A field that a reader does not know is ignored, so producers can move
  first; a field never changes its type or meaning within a version, and new fields are optional.
- A field without a value is left out; the service writes no `null`.
- UUIDs are written in lower case with hyphens. Times are RFC 3339 with their zone.
- Events repeat: the same outcome may be sent more than once, always with the same `ce_id`. Whoever reads outcomes keeps the
  `ce_id`s it has acted on.
- Outcome events carry [CloudEvents](https://cloudevents.io) headers: `ce_specversion`, `ce_id`, `ce_type`
  (`extents.inference.completed.v1`, …), `ce_source`, `ce_time`, and `content-type`. `traceparent` is passed on when the request had it.
- An outcome names the requests that it answers (`requests`: their `request_id`, `event_id`, topic, partition and offset). One run may
  answer several; one request is answered by exactly one kind of outcome.

## Asking for a run

The least that `video.encoded` needs, with the video's id as the record's key:

```json
{{
  "tenant_id": "0d9f6c1e-52f4-4a0e-9c55-1d6b0a4c7e21",
  "video_id": "7c1b7a52-8f0a-4a38-b0d6-54d8ab1f90c3",
  "cropped_frames_version": 1,
  "frame_count": 36000
}}
```

`event_id` names the request: the same name again is the same request, and gets the decision that was taken the first time. Without
one, the record's topic, partition and offset name it. `force` asks for a new run although one exists.

## Dead letters

The value, key and headers are the original's. Added headers: `origin` (`topic/partition/offset` of the first reading), `reason` (`poison`,
`undecodable`, `refused`, `span_failed`), `error` (what happened, at most 1 KB), `tries`, and `run_id` where the record belonged to a run.
There is one for each run that failed by a span, however many of its spans failed.
"""


def page() -> str:
    """``docs/contracts/README.md``."""
    specs = default_specs()
    return _PAGE.format(rows="\n".join(_row(channel, specs[channel.topic]) for channel in CHANNELS))


def _row(channel: Channel, spec: TopicSpec) -> str:
    cells = (
        f"`{channel.topic}`",
        f"`{channel.key}`" if channel.schema else channel.key,
        f"{', '.join(channel.written_by)} → {', '.join(channel.read_by)}",
        str(spec.partitions),
        f"{int(spec.config['retention.ms']) // DAY_MS} days",
        f"[schema](schemas/{channel.schema}.json)" if channel.schema else "bytes",
    )
    return f"| {' | '.join(cells)} |"
