"""Variables are replaced as docker compose does it, but an unset one is a mistake."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from tunnelctl.config.yaml.interpolate import InterpolationError, Interpolator

ENVIRON = {"SET": "v", "EMPTY": "", "OTHER": "o"}


def substitute(text: str) -> str:
    return Interpolator(ENVIRON).substitute(text)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$SET", "v"),
        ("${SET}", "v"),
        ("$EMPTY", ""),
        ("${EMPTY}", ""),
        ("${SET:-d}", "v"),
        ("${SET-d}", "v"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${UNSET:-d}", "d"),
        ("${UNSET-d}", "d"),
        ("${SET:?m}", "v"),
        ("${SET?m}", "v"),
        ("${EMPTY?m}", ""),
        ("${SET:+a}", "a"),
        ("${SET+a}", "a"),
        ("${EMPTY:+a}", ""),
        ("${EMPTY+a}", "a"),
        ("${UNSET:+a}", ""),
        ("${UNSET+a}", ""),
        ("${UNSET:-${SET}-n}", "v-n"),
        ("${UNSET:-${UNSET2:-${OTHER}}}", "o"),
        ("${UNSET-$SET}", "v"),
        ("${UNSET-${SET} ${SET}}", "v v"),
        ("${SET:+${OTHER}!}", "o!"),
        ("${SET-${UNSET}}", "v"),  # a default that is not needed is not looked at
        ("${UNSET-}", ""),
        ("${UNSET:-/non:-alphanumeric}", "/non:-alphanumeric"),
        ("${UNSET-myerror?msg}", "myerror?msg"),
        ("$SET-bar", "v-bar"),
        ("a$SET.b${OTHER}c", "av.boc"),
        ("$$", "$"),
        ("$${SET}", "${SET}"),
        ("$$SET", "$SET"),
        ("$$$SET", "$v"),
        ("$5", "$5"),
        ("cost: 5$", "cost: 5$"),
        ("$-", "$-"),
        ("no variable", "no variable"),
    ],
)
def test_a_variable_becomes_what_compose_makes_of_it(text: str, result: str) -> None:
    assert substitute(text) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$UNSET", "variable UNSET is not set"),
        ("${UNSET}", "variable UNSET is not set"),
        ("${UNSET:?say it}", "required variable UNSET is missing a value: say it"),
        ("${UNSET?say it}", "required variable UNSET is missing a value: say it"),
        ("${EMPTY:?say it}", "required variable EMPTY is missing a value: say it"),
        ("${UNSET:?}", "required variable UNSET is missing a value"),
        ("${UNSET:?no ${SET}}", "required variable UNSET is missing a value: no v"),
        ("${UNSET?bar-baz}", "required variable UNSET is missing a value: bar-baz"),
        ("${X/a/b}", "${X/a/b} is not a variable"),
        ("${}", "${} is not a variable"),
        ("${ SET}", "${ SET} is not a variable"),
        ("${SET }", "${SET } is not a variable"),
        ("${SET!}", "${SET!} is not a variable"),
        ("${5}", "${5} is not a variable"),
        ("${SET", "'${SET' is never closed"),
        ("${SET:-${OTHER}", "is never closed"),
        ("${A:-" * 40 + "}" * 40, "nested more than 16 deep"),
    ],
)
def test_a_variable_that_cannot_be_replaced_says_why(text: str, said: str) -> None:
    with pytest.raises(InterpolationError) as caught:
        substitute(text)
    assert said in str(caught.value)


def test_what_was_asked_for_is_known() -> None:
    interpolator = Interpolator(ENVIRON)
    interpolator.substitute("${SET} ${UNSET:-${OTHER}} $$NOT ${EMPTY:+${NEITHER}}")
    assert interpolator.asked == {"SET", "UNSET", "OTHER", "EMPTY"}


def test_variables_cannot_fill_the_memory() -> None:
    interpolator = Interpolator({"BIG": "x" * 100_000})
    with pytest.raises(InterpolationError, match="1 MiB"):
        interpolator.substitute("$BIG" * 1000)


def test_a_plain_value_gets_its_type_after_the_variables(folder: Folder) -> None:
    text = "version: ${V:-1}\nhosts:\n  b:\n    port: ${P:-5432}\n    embedded: ${E:-false}\n"
    assert folder.load(text).profile.host("b").port == 5432
    assert folder.load(text, {"P": "010"}).profile.host("b").port == 10


@pytest.mark.parametrize("value", ["5432", "010", "1.5", "true", ".inf"])
def test_a_plain_value_stays_text_where_text_is_wanted(folder: Folder, value: str) -> None:
    """As in docker compose: what a variable holds does not make a user's name a number."""
    text = "description: ${D}\nhosts:\n  b:\n    user: u${D}\n    host_key_alias: $D\n"
    profile = folder.load(text, {"D": value}).profile
    assert profile.description == profile.host("b").host_key_alias == value
    assert profile.host("b").user == f"u{value}"


def test_a_quoted_value_stays_text_where_text_is_wanted(folder: Folder) -> None:
    text = 'description: "${D}"\nhosts: {b: {}}\n'
    assert folder.load(text, {"D": "5432"}).profile.description == "5432"


def test_in_a_flow_map_a_quoted_variable_can_be_a_number(folder: Folder) -> None:
    assert folder.host('port: "${P}"', {"P": "2222"}).port == 2222


def test_a_number_in_quotes_is_text(folder: Folder) -> None:
    assert folder.host_mistakes('port: "22"') == [
        "dev.yaml:2:13: hosts.b.port: must be a whole number from 1 to 65535, "
        "not '22' in quotes; write it without"
    ]


def test_the_result_is_never_read_as_yaml(folder: Folder) -> None:
    text = "description: ${D}\nhosts: {b: {}}\n"
    said = "{a: b} # c &d *e"
    assert folder.load(text, {"D": said}).profile.description == said


def test_an_empty_variable_leaves_the_key_out(folder: Folder) -> None:
    host = folder.load("hosts:\n  b:\n    user: ${U-}\n    port: ${P-}\n").profile.host("b")
    assert (host.user, host.port) == (None, 22)


def test_keys_are_not_replaced(folder: Folder) -> None:
    assert folder.mistakes("hosts:\n  $SET: {}\n", ENVIRON) == [
        "dev.yaml:2:3: hosts.$SET: '$SET' is not a host name or address"
    ]


def test_an_unset_variable_is_a_mistake_at_its_value(folder: Folder) -> None:
    text = "hosts:\n  b:\n    user: ${NOPE}\n    prot: 1\n"
    assert folder.mistakes(text) == [
        "dev.yaml:3:11: hosts.b.user: variable NOPE is not set; "
        "write ${NOPE:-DEFAULT} to give a default",
        "dev.yaml:4:5: hosts.b.prot: unknown key (did you mean port?)",
    ]


def test_comments_and_ignored_keys_need_no_variable(folder: Folder) -> None:
    loaded = folder.load("# ${NOPE}\nx-mine: {a: $NOPE}\nhosts: {b: {}}\n")
    assert "NOPE" not in loaded.variables


def test_a_value_that_is_not_utf8_is_a_mistake(folder: Folder) -> None:
    (mistake,) = folder.mistakes("hosts:\n  b:\n    user: $U\n", {"U": "\udcff"})
    assert mistake.endswith("hosts.b.user: the value of variable U is not UTF-8")


def test_the_variables_of_a_profile_are_known(folder: Folder) -> None:
    loaded = folder.load(
        "hosts:\n  b:\n    user: ${A:-${B:-c}}\n    password: {env: PW}\n"
        "    identity_file: ~/key\n",
        {"HOME": "/home/me"},
    )
    assert loaded.variables == {"A", "B", "PW", "HOME"}
