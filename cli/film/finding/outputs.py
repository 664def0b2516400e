"""Where ``find`` writes and in which format: decided, or refused, before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import click

from cli.film.finding.forms import FORMS, SUBTITLES
from cli.shared.output import remark


@dataclass(frozen=True, slots=True)
class Output:
    """The value of ``--output``: a folder if it exists as one or its name ends with a slash, else a file."""

    path: Path
    is_folder: bool


class OutputParameter(click.ParamType):
    """The name of a file or a folder."""

    name = "FILE|DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        path = Path(str(value))
        return Output(path, str(value).endswith(os.sep) or path.is_dir())


def distinct(videos: Sequence[Path]) -> tuple[Path, ...]:
    """Return each film once, in the order given, and report those that are named again."""
    first: dict[Path, Path] = {}
    for video in videos:
        if first.setdefault(video.resolve(), video) is not video:
            remark(f"{video} is named twice: it is processed once")
    return tuple(first.values())


def choose_form(flags: Sequence[str], output: Output | None, films: int) -> str | None:
    """Return the format to write; None for a table.

    Args:
        flags: the formats for which there was an option.

    Raises:
        UsageError: the options and the output's name do not go together.
    """
    if len(flags) > 1:
        raise click.UsageError(f"--{flags[0]} and --{flags[1]} exclude each other: choose one format")
    flag = flags[0] if flags else None
    if output is None:
        return flag
    if output.is_folder:
        return flag or "srt"
    path, named = output.path, output.path.suffix.removeprefix(".").lower()
    if films > 1:
        if named:
            wanted = flag or (named if named in FORMS else "srt")
            raise click.UsageError(
                f"-o {path} names a file, but there are {films} films: name a folder, such as -o {path.stem}/ --{wanted}"
            )
        return flag or "srt"
    if flag is not None:
        if named in FORMS and named != flag:
            raise click.UsageError(
                f"-o {path} and --{flag} name two formats: leave --{flag} out, or write -o {path.with_suffix(f'.{flag}')}"
            )
        return flag
    if named in FORMS:
        return named
    raise click.UsageError(
        f"the extension of {path} names no known format: add --srt, --vtt or --json, or end a folder's name with a slash"
    )


def plan_outputs(videos: Sequence[Path], output: Output | None, form: str | None, stills: Path | None) -> dict[Path, Path]:
    """The file to write for each film. Neither a film nor another film's output is overwritten.

    Raises:
        UsageError: a file would be overwritten, or several films have no folder for their subtitles.
    """
    if output is None and form in SUBTITLES and len(videos) > 1:
        raise click.UsageError("subtitles of several films need a folder: add -o DIR")
    outputs: dict[Path, Path] = {}
    if output is not None:
        is_folder = output.is_folder or len(videos) > 1
        outputs = {video: output.path / f"{video.stem}.{form}" if is_folder else output.path for video in videos}
    names = {video: path.resolve() for video, path in outputs.items()} or ({video: Path(video.stem) for video in videos} if stills else {})
    for (video, path), (other, other_path) in combinations(names.items(), 2):
        if path == other_path:
            raise click.UsageError(f"{video} and {other} have the same name, so one result would overwrite the other: rename one of them")
    for path in outputs.values():
        if any(path.exists() and path.samefile(video) for video in videos):
            raise click.UsageError(f"-o {path} would be written over the film")
    return outputs
