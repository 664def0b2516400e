"""Names say what a value is. The forbidden words only say how it was obtained, or nothing at all."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
VAGUE = frozenset({"asked", "found", "one", "said", "told"})
FOLDERS = sorted(path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))


def given_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each variable, attribute, argument, function and class that the code introduces."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def vague_names(source: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in given_names(ast.parse(source)) if name[0].lower() + name[1:] in VAGUE]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_names_say_what_a_value_is(folder: Path):
    """Nothing is called ``found``, ``told`` or the like."""
    files = {path: path.relative_to(ROOT).as_posix() for path in sorted(folder.rglob("*.py"))}
    faults = [f"{file}:{line}: {name}" for path, file in files.items() for line, name in vague_names(path.read_text())]
    assert not faults, "name the value by what it is, as match, row or message:\n" + "\n".join(faults)


def test_every_way_to_give_a_name_is_seen():
    """Variables, attributes, arguments, functions, classes, errors and patterns count; keys, keyword arguments and constants do not."""
    source = """
class Found:
    FOUND = "found"
    one: int
    def told(self, said): self.asked = said
try:
    (found := 1)
except OSError as one:
    pass
match [found]:
    case [told, *asked]: use(found=told, **{"said": 1})
"""
    names = sorted(name for _, name in vague_names(source))
    assert names == ["Found", "asked", "asked", "found", "one", "one", "said", "told", "told"]
