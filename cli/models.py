"""``extents models``: the models in the object store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.output import print_facts, print_json, print_table, remark, size
from cli.parameters import json_option
from core.errors import PermanentError
from core.files import write_whole
from core.settings import Settings
from inference.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from inference.checkpoint import read_checkpoint
from inference.convert import convert_checkpoint
from inference.loading import load_predictor
from inference.predictor import EngineOptions
from storage.connect import object_keys, open_store
from storage.models import ModelManifest, ModelStore

T = TypeVar("T")


@click.group()
def command() -> None:
    """Keep the models that runs may name: in the object store, each under a version that never changes its weights.

    \b
      extents models push checkpoint.pt --version mrn0fkfd
      extents models list
      extents submit --tenant-id UUID --video-id UUID --model-version mrn0fkfd
    \b
    Settings: WASABI_ACCESS_KEY, WASABI_SECRET_KEY, WASABI_BUCKET, WASABI_REGION, WASABI_ENDPOINT, EXTENTS_KEY_MODEL.
    """


@asynccontextmanager
async def _models() -> AsyncIterator[ModelStore]:
    settings = Settings()
    async with open_store(settings.wasabi) as store:
        yield ModelStore(store, object_keys(settings.keys))


def _with_store(action: Callable[[ModelStore], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with _models() as models:
            return await action(models)

    return asyncio.run(run())


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--version", required=True, help="Version under which runs name it: letters, digits, '.', '_' and '-'.")
@json_option
def push(file: Path, version: str, as_json: bool) -> None:
    """Store FILE as a model, after it has been loaded once: .pt or .safetensors.

    \b
      extents models push checkpoint.pt --version mrn0fkfd
    """
    checkpoint = read_checkpoint(file)
    load_predictor(checkpoint, EngineOptions())  # what does not load here would fail every run that names it
    data = file.read_bytes()
    suffix = ".safetensors" if file.suffix == ".safetensors" else ".pt"
    manifest = ModelManifest(version, f"weights{suffix}", checkpoint.sha256, len(data), checkpoint.architecture_name)
    stored = _with_store(lambda models: models.push(manifest, data))
    if as_json:
        print_json({**_as_json(manifest), "stored": stored})
    else:
        remark("stored and read back" if stored else "was there already, the same")
        print_facts(_facts(manifest))


@command.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the stored models and the built-in one."""

    async def run(models: ModelStore) -> list[ModelManifest]:
        return [await models.manifest(version) for version in await models.versions()]

    path = builtin_checkpoint_path()
    builtin = ModelManifest(builtin_model_version(), path.name, builtin_checkpoint_sha256(), path.stat().st_size, "built in")
    found = [builtin, *_with_store(run)]
    if as_json:
        print_json([_as_json(manifest) for manifest in found])
    else:
        rows = [(one.model_version, one.architecture_name, size(one.size_bytes), one.sha256[:12]) for one in found]
        print_table(("version", "architecture", "size", "SHA-256"), rows, right=("size",))


@command.command()
@click.argument("version")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; by default VERSION with the file's own ending."
)
def pull(version: str, output: Path | None) -> None:
    """Fetch a model's weights, and check them against its manifest.

    \b
      extents models pull mrn0fkfd -o checkpoint.pt
    """

    async def run(models: ModelStore) -> Path:
        manifest = await models.manifest(version)
        target = output or Path(f"{version}{Path(manifest.file).suffix}")
        write_whole(target, await models.fetch(manifest))
        return target

    click.echo(str(_with_store(run)))


@command.command()
@click.argument("versions", nargs=-1)
@json_option
def verify(versions: tuple[str, ...], as_json: bool) -> None:
    """Fetch models (all, unless VERSIONS are named) and check that their weights are what the manifests say.

    Exit status 1 when one is not.
    """

    async def run(models: ModelStore) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for version in versions or await models.versions():
            try:
                await models.fetch(await models.manifest(version))
                found.append((version, None))
            except PermanentError as error:
                found.append((version, str(error)))
        return found

    found = _with_store(run)
    if as_json:
        print_json([{"model_version": version, "fault": fault} for version, fault in found])
    else:
        print_table(("version", "found"), [(version, fault or "ok") for version, fault in found])
    if any(fault for _, fault in found):
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; by default FILE with the ending .safetensors."
)
@click.option("--trust", is_flag=True, help="Load FILE even if that runs code from it.")
def convert(file: Path, output: Path | None, trust: bool) -> None:
    """Write FILE's weights and config as safetensors, which hold no code.

    A checkpoint that only loads by running code from it is converted with --trust alone: do so only where you trust its
    source as you would trust a program.

    \b
      extents models convert old.pt --trust -o model.safetensors
    """
    target = output or file.with_suffix(".safetensors")
    write_whole(target, convert_checkpoint(file, trust=trust))
    click.echo(str(target))


@command.command()
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(version: str, yes: bool) -> None:
    """Delete a model. Runs that name it are rejected from then on; runs that are finished stay as they are."""
    manifest = _with_store(lambda models: models.manifest(version))
    if not yes:
        click.confirm(f"delete model {version} ({size(manifest.size_bytes)}, SHA-256 {manifest.sha256[:12]}…)?", abort=True, err=True)
    _with_store(lambda models: models.remove(version))
    remark(f"model {version} deleted")


def _facts(manifest: ModelManifest) -> list[tuple[str, str]]:
    return [
        ("version", manifest.model_version),
        ("architecture", manifest.architecture_name),
        ("size", size(manifest.size_bytes)),
        ("SHA-256", manifest.sha256),
    ]


def _as_json(manifest: ModelManifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in ModelManifest.__dataclass_fields__}
