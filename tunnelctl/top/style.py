"""The layout and the colours of `top`, in textual's CSS.

The colours are the terminal's own: it knows whether it is dark or light.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
Screen { layout: vertical; }
#title { height: 1; text-style: bold; }
#broken { height: auto; max-height: 35%; color: ansi_red; }
#broken { text-wrap: nowrap; text-overflow: ellipsis; }
#message { height: 1; }
ContentSwitcher, RowTable { height: 1fr; }
#filter { height: 1; border: none; padding: 0; display: none; }
#keys { height: 1; text-style: dim; }
ConfirmDialog, Page { align: center middle; background: transparent; }
.box { width: auto; max-width: 100%; height: auto; max-height: 100%; }
.box { border: round ansi_default; padding: 0 1; background: ansi_default; }
.box Static { width: auto; }
"""
