"""Durations as arguments of commands."""

from __future__ import annotations

from typing import Any

import click

from tunnelctl.config.values.quantities import parse_duration


class Duration(click.ParamType[float]):
    """`30s`, `1m30s`; a bare number is seconds, as in docker compose. Returns seconds as a float,
    not 0 if `positive`."""

    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the text of an argument."""
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            seconds = parse_duration(text + "s" if text.isascii() and text.isdigit() else text)
        except ValueError as error:
            self.fail(f"{text!r} {error}", param, ctx)
        if self._positive and not seconds:
            self.fail(f"{text!r} must be greater than zero", param, ctx)
        return seconds
