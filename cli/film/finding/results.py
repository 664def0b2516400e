"""Prints the films' results, or writes them into files, and says on standard error what they hold."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.film.finding.film_run import FilmRun
from cli.film.finding.forms import Doubtful, as_json, written
from cli.film.finding.found_table import print_found
from cli.film.finding.summary import advice, summary
from cli.shared.output import json_array, print_heading, print_json, remark
from core.files import write_whole


@dataclass(frozen=True, slots=True)
class Results:
    """How to give the results.

    Attributes:
        form: None for a table.
        outputs: the file of each film; empty for standard output.
        several: whether there are several films, so that each result names its own.
    """

    form: str | None
    doubtful: Doubtful
    model_version: str
    outputs: Mapping[Path, Path]
    several: bool
    is_crop_given: bool

    @contextmanager
    def opened(self) -> Iterator[Callable[[FilmRun], None]]:
        """Yield a function that takes each result. JSON of several films is an array, complete also if the block ends early."""
        if self.form == "json" and not self.outputs and self.several:
            with json_array() as add:
                yield lambda run: self._give(run, add)
        else:
            yield lambda run: self._give(run, print_json)

    def _give(self, run: FilmRun, print_value: Callable[[Any], None]) -> None:
        output = self.outputs.get(run.path)
        if output is not None and self.form is not None:
            write_whole(output, written(run, self.form, self.doubtful, self.model_version).encode())
        elif self.form == "json":
            print_value(as_json(run, self.model_version))
        elif self.form is not None:
            click.echo(written(run, self.form, self.doubtful, self.model_version), nl=False)
        else:
            if self.several:
                print_heading(str(run.path))
            if run.captions:
                print_found(run)
        name = f"{run.path}: " if self.several else ""
        remark(name + summary(run, self.form, self.doubtful, output))
        for line in advice(run, self.form, self.doubtful, is_crop_given=self.is_crop_given):
            remark(name + line)
