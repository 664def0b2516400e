"""The page of all settings is made from the settings."""

import ast
from pathlib import Path

import core.settings
from core.settings import Settings, variable
from tools import settings_table


def test_page_is_up_to_date():
    """docs/configuration.md is what the settings say; `python -m tools.settings_table` makes it so."""
    assert settings_table.PAGE.read_text() == settings_table.page()


def test_every_section_is_listed():
    """No section of settings can be added without standing in the page."""
    tree = ast.parse(Path(core.settings.__file__).read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {node.name: {getattr(base, "id", "") for base in node.bases} for node in classes}
    extended = set().union(*bases.values())  # what a part of a section needs alone, such as SchemaSettings
    defined = {name for name, its in bases.items() if name.endswith("Settings") and its and name not in extended}
    assert {section.__name__ for section in Settings.SECTIONS} == defined


def test_every_setting_has_a_meaning_and_a_name_of_its_own():
    """Each variable is in exactly one row, with a sentence that says what it does."""
    names = [variable(section, name) for section in Settings.SECTIONS for name in section.model_fields]
    assert len(names) == len(set(names))
    for section in Settings.SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description, f"{variable(section, name)} has no description"
            assert field.description.endswith("."), f"{variable(section, name)}: {field.description}"
    page = settings_table.page()
    assert all(page.count(f"| `{name}` |") == 1 for name in names)
