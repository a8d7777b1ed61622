"""A run's figures: table, JSON file, picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One measured number; ``limit``, where there is one, must not be exceeded, or must be reached (``at_least``)."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """``pass``, ``miss``, or nothing where there is no target."""
        if self.limit is None:
            return ""
        return "pass" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "miss"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, one a line."""
    width = max(len(figure.name) for figure in figures)
    lines = [f"{'what':<{width}}  {'measured':>10}  {'target':>8}        unit"]
    for figure in figures:
        target = "" if figure.limit is None else f"{'>=' if figure.at_least else '<='} {_number(figure.limit)}"
        lines.append(
            f"{figure.name:<{width}}  {_number(figure.value):>10}  {target:>8}  {figure.verdict:<4}  {figure.unit}"
        )
    return "\n".join(lines)


def write_json(
    path: Path, facts: dict[str, Any], options: dict[str, Any], figures: Sequence[Figure], samples: dict[str, Any]
) -> None:
    """Everything that is needed to judge or repeat the run."""
    listed = [{**figure._asdict(), "verdict": figure.verdict} for figure in figures]
    document = {"machine": facts, "options": options, "figures": listed, "samples": samples}
    path.write_text(json.dumps(document, indent=1) + "\n")


def draw(path: Path, facts: dict[str, Any], figures: Sequence[Figure]) -> None:
    """One picture: a panel of bars per unit, targets as lines. ImportError without matplotlib (group ``bench``)."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    panels: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.unit in ("CPU-s per million", "us CPU per datagram", "ns per record", "x"):
            panels.setdefault(figure.unit, []).append(figure)
    if not panels:
        return
    heights = [len(panel) + 1.2 for panel in panels.values()]
    canvas, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, 0.34 * sum(heights) + 1), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (unit, panel) in zip(axes[:, 0], panels.items(), strict=True):
        names = [figure.name for figure in panel]
        colours = [
            "#c0504d" if figure.verdict == "miss" else "#4f81bd" if figure.limit else "#9aa7b5" for figure in panel
        ]
        bars = axis.barh(names, [figure.value for figure in panel], color=colours, height=0.6)
        axis.bar_label(bars, labels=[f" {_number(figure.value)}" for figure in panel], fontsize=8)
        for row, figure in enumerate(panel):
            if figure.limit is not None:
                axis.plot([figure.limit, figure.limit], [row - 0.4, row + 0.4], color="black", linewidth=1.5)
        axis.invert_yaxis()
        axis.set_title("ratio" if unit == "x" else unit, fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(
        f"ingestd on {facts['cores']} cores ({facts['processor']}), Linux {facts['kernel']}, "
        f"Python {facts['python']} ({facts['python_build']}); "
        "black: target",
        fontsize=9,
    )
    canvas.savefig(path, dpi=120)
    pyplot.close(canvas)
