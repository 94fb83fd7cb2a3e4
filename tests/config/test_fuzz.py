"""Whatever is in a file: a profile or ProfileInvalid, and every mistake has its place."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tunnelctl.config.profile.keys import ForwardMap, HostMap, ProfileMap, Secret
from tunnelctl.config.profile.load import Mistake, ProfileInvalid, load_profile

KEYS = sorted(
    {key for model in (ProfileMap, HostMap, ForwardMap, Secret) for key in model.model_fields}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["b", "15s", "1G", "refuse", "never", "5432:22", "${X}", "$$", "~/x", "*:1"]),
)
WORDS = st.one_of(st.sampled_from(KEYS), st.text(max_size=6))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
SYNTAX = st.text(st.sampled_from(list("{}[]:,&*!|>'\"%@`#-?~$\\\n\t ab0\x85\u2028\ufeff")))


def load(raw: bytes) -> None:
    """Load it as the only file of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dev.yaml"
        path.write_bytes(raw)
        path.chmod(0o600)
        mistakes: tuple[Mistake, ...] | None = None
        try:
            load_profile(path, {"X": "1", "HOME": "/home/me"})
        except ProfileInvalid as error:
            mistakes = error.mistakes
    if mistakes is not None:
        assert mistakes
        assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in mistakes)
        assert all(str(mistake).isprintable() for mistake in mistakes)


@given(st.binary())
@example(b"\xff\xfe\x00")
@example(b"a: !!binary |\n  x")
@settings(max_examples=150)
def test_any_bytes(raw: bytes) -> None:
    load(raw)


@given(st.one_of(st.text(), SYNTAX))
@example("hosts: {b: {user: ${${${}}}}}")
@example("? \n: \n?")
@example("&a [*a]")
@settings(max_examples=300)
def test_any_text(text: str) -> None:
    load(text.encode(errors="surrogatepass"))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "version": SCALARS,
            "description": SCALARS,
            "defaults": TREES,
            "hosts": st.one_of(
                TREES, st.dictionaries(WORDS, st.dictionaries(WORDS, TREES, max_size=4))
            ),
            "forwards": st.one_of(
                TREES, st.dictionaries(WORDS, st.dictionaries(WORDS, TREES, max_size=4))
            ),
        },
    )
)
@settings(max_examples=300)
def test_any_tree(tree: dict[str, object]) -> None:
    load(yaml.safe_dump(tree, allow_unicode=True).encode(errors="surrogatepass"))
