"""The page with every algorithm is what the code offers, and leaves out nothing OpenSSH has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.docs.pages import table
from tools import make_algorithms
from tunnelctl.config.values.algorithms import Kind

QUERIES = {
    Kind.CIPHERS: "cipher",
    Kind.KEX_ALGORITHMS: "kex",
    Kind.MACS: "mac",
    Kind.HOST_KEY_ALGORITHMS: "HostKeyAlgorithms",
}


def rows() -> dict[str, str]:
    """Each algorithm, and what the page says of it."""
    return {
        name.strip("`"): said
        for _, name, said in table(make_algorithms.page(), "", "algorithm", "")
    }


def test_the_page_is_what_the_code_says() -> None:
    assert make_algorithms.PAGE.read_text() == make_algorithms.page(), (
        "python -m tools.make_algorithms"
    )


def test_what_has_a_number_is_what_is_offered_in_that_order() -> None:
    said = rows()
    for kind in Kind:
        assert [said[name] for name in kind.value] == [str(n + 1) for n in range(len(kind.value))]
    offered = {name for kind in Kind for name in kind.value}
    assert all(said[name].startswith("absent: ") for name in said.keys() - offered)


@pytest.mark.parametrize("kind", QUERIES)
def test_whatever_openssh_has_is_on_it(kind: Kind) -> None:
    ssh = shutil.which("ssh")
    assert ssh, "openssh-client is not installed"
    query = [ssh, "-Q", QUERIES[kind]]
    shown = subprocess.run(query, capture_output=True, text=True, check=True)
    assert set(shown.stdout.split()) - rows().keys() == set()
