"""The page of all settings is generated from the settings."""

import ast
from pathlib import Path

import core.settings
from core.settings import Settings, variable
from tools import settings_table


def test_page_is_up_to_date():
    """docs/configuration.md matches the settings; `python -m tools.settings_table` updates it."""
    assert settings_table.PAGE.read_text() == settings_table.page()


def test_every_section_is_listed():
    """Every section of settings is on the page."""
    trees = [ast.parse(path.read_text()) for path in Path(core.settings.__file__).parent.glob("*settings.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {node.name: {getattr(base, "id", "") for base in node.bases} for node in classes}
    extended = set().union(*bases.values())  # base classes for settings that some parts need, such as SchemaSettings
    defined = {name for name, its in bases.items() if name.endswith("Settings") and its and name not in extended}
    assert {section.__name__ for section in Settings.SECTIONS} == defined


def test_every_setting_has_a_meaning_and_a_name_of_its_own():
    """Each variable has exactly one row, with a sentence that describes it."""
    names = [variable(section, name) for section in Settings.SECTIONS for name in section.model_fields]
    assert len(names) == len(set(names))
    for section in Settings.SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description, f"{variable(section, name)} has no description"
            assert field.description.endswith("."), f"{variable(section, name)}: {field.description}"
    page = settings_table.page()
    assert all(page.count(f"| `{name}` |") == 1 for name in names)
