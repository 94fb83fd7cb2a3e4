"""The state of a forward in words, for every state of forward and host."""

from __future__ import annotations

from itertools import product

import pytest

from tests.view.samples import NOW, REFUSED, forward, host
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
)
from tunnelctl.view import condition
from tunnelctl.view.condition import Condition

ASKS = ErrorStatus("needs-input", "the login needs an answer", "")


@pytest.mark.parametrize(
    ("a_forward", "a_host", "text"),
    [
        (forward(), host(), "up"),
        (forward(health=Health.UNHEALTHY), host(), "up (unhealthy)"),
        (forward(), host(state=HostState.CONNECTING), "connecting"),
        (forward(), host(state=HostState.CONNECTING, queued=True), "connecting (queued)"),
        (forward(), host(state=HostState.AUTHENTICATING), "authenticating"),
        (forward(), host(state=HostState.BACKOFF, attempts=1), "retry in 0s (#1)"),
        (forward(state=ForwardState.PENDING), host(), "pending"),
        (forward(), host(state=HostState.FAILED, last_error=REFUSED), "failed: auth-failed"),
        (forward(state=ForwardState.FAILED, last_error=REFUSED), host(), "failed: auth-failed"),
        (
            forward(),
            host(state=HostState.NEEDS_INPUT, last_error=REFUSED),
            "needs-input: auth-failed",
        ),
        (forward(), host(state=HostState.NEEDS_INPUT, last_error=ASKS), "needs-input"),
        (forward(state=ForwardState.STOPPED), host(state=HostState.STOPPED), "stopped"),
        (forward(), host(state=HostState.STOPPING), "stopping"),
    ],
)
def test_up_is_not_said_of_a_forward_whose_host_is_not(
    a_forward: ForwardStatus, a_host: HostStatus, text: str
) -> None:
    assert condition.of_forward(a_forward, a_host, NOW).text == text


@pytest.mark.parametrize(("a_forward", "a_host"), list(product(ForwardState, HostState)), ids=str)
def test_only_what_can_carry_a_client_is_up(a_forward: ForwardState, a_host: HostState) -> None:
    shown = condition.of_forward(forward(state=a_forward), host(state=a_host), NOW)
    works = a_forward is ForwardState.UP and a_host is HostState.UP
    assert (shown.condition is Condition.UP) is works
    assert (shown.text == "up") is works
    assert shown.text
