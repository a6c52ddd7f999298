# SPDX-License-Identifier: MIT
"""The trend of RTO, RPO and size as one SVG: three panels, a point for each drill, the objective as a line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from mendbook.drills.record import DrillRecord
from mendbook.drills.report import span
from mendbook.report import duration, size
from mendbook.results import plain

_WIDTH, _PANEL, _GAP, _TOP = 600, 110, 52, 60
_LEFT, _RIGHT = 84, 576
# an objective this many times above the data would press it flat: it is named at the edge instead
_FAR = 3.0
_STYLE = """
  svg { background: #ffffff; font: 13px system-ui, sans-serif; color-scheme: light dark }
  text { fill: #1f2328 } .quiet { fill: #59636e; font-size: 12px } .axis { stroke: #d1d9e0 }
  .line { fill: none; stroke: #0969da; stroke-width: 1.5 } .objective { stroke: #9a6700; stroke-dasharray: 5 4 }
  .passed { fill: #0969da } .missed { fill: #9a6700 } .failed { fill: none; stroke: #d1242f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 } text { fill: #f0f6fc } .quiet { fill: #9198a1 } .axis { stroke: #3d444d }
    .line { stroke: #4493f8 } .objective { stroke: #d29922 } .passed { fill: #4493f8 } .missed { fill: #d29922 }
    .failed { stroke: #f85149 }
  }
"""


@dataclass(frozen=True)
class _Panel:
    title: str
    values: Sequence[float | None]
    shown: Callable[[float], str]
    objective: float | None


def chart(records: Sequence[DrillRecord]) -> str:
    """The SVG of these drills, oldest first; it is whole with one drill, and says so with none."""
    last = records[-1] if records else None
    panels = [
        _Panel("RTO", [r.rto_seconds for r in records], duration, last.objectives.rto_seconds if last else None),
        _Panel("RPO", [r.rpo_seconds for r in records], duration, last.objectives.rpo_seconds if last else None),
        _Panel("size", [r.bytes for r in records], size, None),
    ]
    height = _TOP + len(panels) * (_PANEL + _GAP) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">Restore drills: RTO, RPO and size of {len(records)}</title>',
        f'<desc id="description">{_text(_description(records))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text x="{_LEFT}" y="24">{_text(_span(records))}</text>',
        f'<text class="quiet" x="{_LEFT}" y="42">dot: passed, triangle: objectives missed, cross: failed</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, records, _TOP + number * (_PANEL + _GAP) + 24)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: _Panel, records: Sequence[DrillRecord], top: float) -> list[str]:
    known = [value for value in panel.values if value is not None]
    bottom, highest = top + _PANEL, max(known, default=0.0)
    near = panel.objective is not None and panel.objective <= max(highest, 1e-9) * _FAR
    scale = max(highest, panel.objective if near and panel.objective else 0.0) * 1.1 or 1.0

    def at(value: float) -> float:
        return round(bottom - value / scale * _PANEL, 1)

    caption, level = panel.title, top
    if panel.objective is not None:
        caption += f": the objective (dashed) is {span(panel.objective)}" + ("" if near else ", far above")
        level = at(panel.objective) if near else top
    parts = [
        f'<text x="{_LEFT}" y="{top - 10}">{_text(caption)}</text>',
        f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{_RIGHT}" y2="{bottom}"/>',
        f'<text class="quiet" x="{_LEFT - 8}" y="{bottom}" text-anchor="end">0</text>',
    ]
    if known:
        label = _text(panel.shown(highest))
        parts.append(f'<text class="quiet" x="{_LEFT - 8}" y="{at(highest) + 4}" text-anchor="end">{label}</text>')
    if panel.objective is not None:
        parts.append(f'<line class="objective" x1="{_LEFT}" y1="{level}" x2="{_RIGHT}" y2="{level}"/>')
    step = (_RIGHT - _LEFT - 24) / max(1, len(records) - 1)
    points = [
        (round(_LEFT + 12 + number * step, 1), value, record)
        for number, (value, record) in enumerate(zip(panel.values, records, strict=True))
    ]
    # a made shop and a backup, or two databases, have no trend in common
    for subject in dict.fromkeys(record.subject for record in records):
        drawn = [f"{x},{at(value)}" for x, value, record in points if value is not None and record.subject == subject]
        if len(drawn) > 1:
            parts.append(f'<polyline class="line" points="{" ".join(drawn)}"/>')
    for x, value, record in points:
        shown = "not known" if value is None else panel.shown(value)
        parts.append(_mark(record, x, bottom if value is None else at(value), f"{panel.title} {shown}"))
    return parts


def _mark(record: DrillRecord, x: float, y: float, words: str) -> str:
    """A result is told by its shape as well as by its colour."""
    subject = f", {record.subject}" if record.subject else ""
    title = f"<title>{_text(f'{record.started}: {record.result}, {words}{subject}')}</title>"
    if record.result == "failed":
        path = f"M{x - 4} {y - 4} L{x + 4} {y + 4} M{x - 4} {y + 4} L{x + 4} {y - 4}"
        return f'<path class="failed" d={quoteattr(path)}>{title}</path>'
    if record.result == "missed":
        return f'<path class="missed" d="M{x} {y - 6} L{x + 6} {y + 5} L{x - 6} {y + 5} Z">{title}</path>'
    return f'<circle class="passed" cx="{x}" cy="{y}" r="4">{title}</circle>'


def _span(records: Sequence[DrillRecord]) -> str:
    if not records:
        return "no drill yet"
    first, last = records[0].started[:10], records[-1].started[:10]
    return f"{len(records)} drill{'' if len(records) == 1 else 's'} of {records[-1].drill}, {first} to {last}"


def _description(records: Sequence[DrillRecord]) -> str:
    if not records:
        return "There is no drill in the history."
    counts = ", ".join(
        f"{sum(record.result == word for record in records)} {word}" for word in ("passed", "missed", "failed")
    )
    last = records[-1]
    rto, rpo = ("unknown" if value is None else duration(value) for value in (last.rto_seconds, last.rpo_seconds))
    return f"{counts}. The last one, of {last.started}, {last.result}: RTO {rto}, RPO {rpo}."


def _text(text: str) -> str:
    return escape(plain(text))
