"""The page with every key of a profile is what the schema says, and is up to date."""

from __future__ import annotations

from pydantic import BaseModel

from tests.docs.pages import table
from tools import make_reference
from tunnelctl.config.profile.keys import ForwardMap, HostMap, ProfileMap, Secret


def test_the_page_is_what_the_schema_says() -> None:
    assert make_reference.PAGE.read_text() == make_reference.page(), (
        "python -m tools.make_reference"
    )


def test_every_key_that_a_file_may_have_is_on_it() -> None:
    sections = make_reference.page().split("\n## ")[1:]
    models: tuple[type[BaseModel], ...] = (ProfileMap, HostMap, ForwardMap, Secret)
    for model, section in zip(models, sections, strict=True):
        keys = {key for key, _, _, _ in table(section, "key", "value", "default", "")}
        assert set(model.model_fields) <= keys
