"""Documents are correct: links, commands, settings and make targets exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import cli
from core.settings import Settings, variable
from core.variables import is_secret

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md", ROOT / "tests/README.md"]
UUID = "3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(text: str) -> list[list[str]]:
    """The arguments of every `extents` command in code blocks and inline code. FILE, UUID and the like stay as they are."""
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
    lines += [
        line.removeprefix("$ ")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line[:2] == "$ "
    ]
    arguments = []
    for line in lines:
        words = shlex.split(line.replace("$TENANT", UUID).replace("$VIDEO", UUID), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if "|" in words:
            words = words[: words.index("|")]  # the rest belongs to another program
        if words and words[0] in ("extents", ".venv/bin/extents"):
            arguments.append([word for word in words[1:] if word != "&"])
    return arguments


def parse(arguments: list[str]) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="extents")
    rest = list(arguments[: arguments.index(">")] if ">" in arguments else arguments)
    while isinstance(command, click.Group) and rest:
        subcommand = command.get_command(context, rest[0])
        assert subcommand is not None, f"no command {rest[0]}"
        command, context, rest = subcommand, click.Context(subcommand, info_name=rest[0], parent=context), rest[1:]
    if rest:
        command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """Every link within the project points to an existing file or folder."""
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_commands_exist(monkeypatch):
    """Every `extents` command on the pages exists and has those options."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))  # the files are the reader's
    shown = [(name(page), arguments) for page in PAGES for arguments in commands(page.read_text())]
    assert len(shown) > 15
    for page, arguments in shown:
        if arguments[:1] == ["COMMAND"]:
            continue
        try:
            parse(arguments)
        except click.UsageError as error:
            if arguments[1:]:  # a bare name refers to the command, not to a line to type
                raise AssertionError(f"{page}: extents {' '.join(arguments)}: {error.format_message()}") from error


def test_settings_exist():
    """Every variable with one of our prefixes on the pages is a setting."""
    fields = [(section, name, field) for section in Settings.SECTIONS for name, field in section.model_fields.items()]
    known = {variable(section, name) for section, name, _ in fields}
    known |= {f"{variable(section, name)}_FILE" for section, name, field in fields if is_secret(field)}
    for page in PAGES:
        named = set(re.findall(r"\b(?:EXTENTS|KAFKA|WASABI|SUPABASE)_[A-Z_]*[A-Z]\b", page.read_text()))
        assert named <= known, f"{name(page)}: {named - known}"


def test_targets_exist():
    """Every make target on the pages is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, f"{name(page)}: {named - targets}"


def test_modules_exist():
    """Every `python -m` on the pages names a module of this project."""
    for page in PAGES:
        for module in re.findall(r"python -m ([a-z_.]+)", page.read_text()):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{name(page)}: {module}"


def test_every_command_is_documented():
    """Every command is mentioned on at least one page."""
    text = "\n".join(page.read_text() for page in PAGES)
    for command in cli.list_commands(click.Context(cli)):
        assert re.search(rf"\b(extents|make) {command}\b", text), command


def test_every_decision_is_listed():
    """The list of decisions holds every note, in order."""
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\((\d{4}-[a-z-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
