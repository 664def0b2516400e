"""``extents models``: the models in the object store."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cli.operations.models.promotions import history, promote, rollback
from cli.shared.command_group import CommandGroup
from cli.shared.output import print_facts, print_json, print_table, remark
from cli.shared.parameters import ModelVersionParameter, json_option
from core.errors import CorruptInputError, MissingObjectError, UnknownModelError
from core.files import make_parent, write_whole
from core.settings import Settings
from core.sizes import size
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from storage.connect import object_keys, open_store
from storage.model_store import ModelManifest, ModelStore

# Modules that load torch are imported where they are used: listing and removing do not need it.

T = TypeVar("T")

_SETTINGS: Final = "\n\b\nSettings: WASABI_*, EXTENTS_KEY_MODEL."

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_version = click.argument("version", type=ModelVersionParameter())


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents models push weights.pt --version mrn0fkfd
  extents models list
  extents submit --tenant-id UUID --video-id UUID --model-version mrn0fkfd
{_SETTINGS}""",
)
def command() -> None:
    """Manage the models in the object store. The weights of a version never change."""


for _one in (promote, history, rollback):
    command.add_command(_one)


def _with_store(action: Callable[[ModelStore], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        settings = Settings()
        async with open_store(settings.wasabi) as store:
            return await action(ModelStore(store, object_keys(settings.keys)))

    return asyncio.run(run())


@command.command(
    epilog=f"""\b
Examples:
  extents models push weights.pt --version mrn0fkfd
  extents models push weights.safetensors --version mrn0fkfd-2 --json
{_SETTINGS}"""
)
@_file
@click.option("--version", type=ModelVersionParameter(), required=True, metavar="V", help="Version of the model.")
@json_option
def push(file: Path, version: str, as_json: bool) -> None:
    """Store FILE (.pt or .safetensors) as a model.

    It is loaded first, and must predict. The weights of a version never change: another file with the same version is
    refused. Pushing the same file again changes nothing, or repairs weights that are damaged in the store.
    """
    from inference.engine.predictor import EngineOptions
    from inference.models.checkpoint import read_checkpoint
    from inference.models.loading import load_predictor
    from inference.models.smoke_test import run_smoke_test

    if version == builtin_model_version():
        raise click.UsageError(f"{version} is the built-in model's own version; choose another")
    checkpoint = read_checkpoint(file)
    run_smoke_test(load_predictor(checkpoint, EngineOptions()))  # a model that does not load would fail every run that uses it
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != checkpoint.sha256:
        raise click.ClickException(f"{file} changed during the test; push it again")
    suffix = ".safetensors" if file.suffix == ".safetensors" else ".pt"
    # Named after its content, so that two concurrent pushes of different weights cannot overwrite each other.
    manifest = ModelManifest(
        version, f"weights-{checkpoint.sha256[:12]}{suffix}", checkpoint.sha256, len(data), checkpoint.architecture_name
    )
    stored = _with_store(lambda models: models.push(manifest, data))
    if as_json:
        print_json({**_as_json(manifest), "stored": stored})
        return
    print_facts(
        [
            ("version", manifest.model_version),
            ("architecture", manifest.architecture_name),
            ("size", size(manifest.size_bytes)),
            ("SHA-256", manifest.sha256),
            ("state", "stored and read back" if stored else "unchanged: the same weights were stored already"),
        ]
    )


@command.command(
    "list",
    epilog=f"""\b
Examples:
  extents models list
  extents models list --json | jq -r '.[].model_version'
{_SETTINGS}""",
)
@json_option
def list_models(as_json: bool) -> None:
    """List the built-in model and the stored ones. Unreadable manifests are reported on standard error."""

    async def run(models: ModelStore) -> list[ModelManifest]:
        manifests = []
        for version in await models.versions():
            try:
                manifests.append(await models.manifest(version))
            except CorruptInputError as error:
                remark(str(error))
            except UnknownModelError:
                continue  # removed in the meantime
        return manifests

    path = builtin_checkpoint_path()
    builtin = ModelManifest(builtin_model_version(), path.name, builtin_checkpoint_sha256(), path.stat().st_size, "built in")
    manifests = [builtin, *_with_store(run)]
    if as_json:
        print_json([_as_json(manifest) for manifest in manifests])
        return
    rows = [(manifest.model_version, manifest.architecture_name, size(manifest.size_bytes), manifest.sha256[:12]) for manifest in manifests]
    print_table(("version", "architecture", "size", "SHA-256"), rows, right=("size",))


@command.command(
    epilog=f"""\b
Examples:
  extents models pull mrn0fkfd
  extents models pull mrn0fkfd -o weights.pt
{_SETTINGS}"""
)
@_version
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: VERSION with the extension it was pushed with]",
)
def pull(version: str, output: Path | None) -> None:
    """Fetch a model's weights and check them against its manifest. Overwrites an existing file."""
    if output is not None:
        make_parent(output)

    async def run(models: ModelStore) -> Path:
        manifest = await models.manifest(version)
        target = output or Path(f"{version}{Path(manifest.file).suffix}")
        write_whole(target, await models.fetch(manifest))
        return target

    click.echo(str(_with_store(run)))


@command.command(
    epilog=f"""\b
Examples:
  extents models verify
  extents models verify mrn0fkfd --json
\b
Exit status 1 if a model does not match its manifest.
{_SETTINGS}"""
)
@click.argument("versions", type=ModelVersionParameter(), nargs=-1)
@json_option
def verify(versions: tuple[str, ...], as_json: bool) -> None:
    """Check stored weights against their manifests. Fetches all models, or those named."""

    async def run(models: ModelStore) -> list[tuple[str, str | None]]:
        return [(version, await _fault(models, version)) for version in versions or await models.versions()]

    results = _with_store(run)
    if as_json:
        print_json([{"model_version": version, "fault": fault} for version, fault in results])
    else:
        for version, fault in results:
            click.echo(f"{version}  {fault or 'ok'}")
    if any(fault for _, fault in results):
        raise click.exceptions.Exit(1)


async def _fault(models: ModelStore, version: str) -> str | None:
    try:
        await models.fetch(await models.manifest(version))
    except (UnknownModelError, MissingObjectError, CorruptInputError) as error:
        return str(error)
    return None


@command.command(
    epilog="""\b
Examples:
  extents models convert old.pt --trust
  extents models convert old.pt --trust -o weights.safetensors"""
)
@_file
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: FILE with the extension .safetensors]",
)
@click.option("--trust", is_flag=True, help="Load FILE even if that runs code from it.")
def convert(file: Path, output: Path | None, trust: bool) -> None:
    """Write FILE's weights and config as safetensors.

    Safetensors hold no code. A checkpoint that only loads by running code from it requires --trust: use that only if you
    trust its source as you would trust a program. Overwrites an existing file.
    """
    from inference.models.convert import convert_checkpoint

    target = output or file.with_suffix(".safetensors")
    if target.resolve() == file.resolve():
        raise click.UsageError(f"{target} is the input file itself; choose another output with -o")
    make_parent(target)
    write_whole(target, convert_checkpoint(file, trust=trust))
    click.echo(str(target))


@command.command(
    epilog=f"""\b
Examples:
  extents models rm mrn0fkfd
  extents models rm mrn0fkfd --yes
{_SETTINGS}"""
)
@_version
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(version: str, yes: bool) -> None:
    """Delete a model. Later requests for it are rejected; finished runs are not affected."""
    try:
        manifest = _with_store(lambda models: models.manifest(version))
        what = f"{size(manifest.size_bytes)}, SHA-256 {manifest.sha256[:12]}…"
    except CorruptInputError as error:
        what = str(error)
    if not yes:
        click.confirm(f"delete model {version} ({what})?", abort=True, err=True)
    _with_store(lambda models: models.remove(version))
    remark(f"model {version} deleted")


def _as_json(manifest: ModelManifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in ModelManifest.__dataclass_fields__}
