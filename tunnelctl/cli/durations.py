"""Durations as arguments of commands."""

from __future__ import annotations

from typing import Any

import click

from tunnelctl.config.quantities import parse_duration


class Duration(click.ParamType[float]):
    """`30s`, `1m30s`; a bare number is seconds, as docker compose has it. A float of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the text of an argument."""
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            return parse_duration(text + "s" if text.isascii() and text.isdigit() else text)
        except ValueError as error:
            self.fail(f"{text!r} {error}", param, ctx)
