"""Figures for the documentation. matplotlib is imported here alone, and only to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS, THEIRS, INK, GRID = "#c2410c", "#64748b", "#1e293b", "#e2e8f0"
"""Colours: of the provider's schedules, of others, of words, of lines behind them."""

STYLE = {
    "svg.hashsalt": "quickrouter",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": THEIRS,
    "xtick.color": INK,
    "ytick.color": INK,
}

SAME = "\n= "
"""Between the names of points that lie in one place."""

PLACES = [
    (x * far, y * far, side)
    for far in (1, 1.7, 2.6, 3.6)
    for x, y, side in (
        *((8, 0, "left"), (-8, 0, "right"), (6, 9, "left"), (6, -9, "left")),
        *((-6, 9, "right"), (-6, -9, "right"), (0, 10, "center"), (0, -11, "center")),
    )
]
"""Where a label may stand beside its point, the best first: points of type, and what is aligned."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@contextmanager
def figure(panels: int, size: tuple[float, float], path: Path) -> Any:
    """Yield panels side by side; then write them to a file, equal bytes for equal numbers.

    :param size: inches.
    """
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    with pyplot.rc_context(STYLE):
        drawn, axes = pyplot.subplots(1, panels, figsize=size, layout="constrained", squeeze=False)
        yield list(axes[0])
        dated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
        drawn.savefig(path, dpi=150, facecolor="white", **dated)
        pyplot.close(drawn)


def plain_numbers(axis: Any, ticks: Sequence[float] = ()) -> None:
    """Write the numbers of a logarithmic axis as people do, at these places if any are given."""
    ticker: Any = import_module("matplotlib.ticker")
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    if ticks:
        axis.set_major_locator(ticker.FixedLocator(ticks))
        axis.set_minor_locator(ticker.NullLocator())


def merged(points: Mapping[str, tuple[float, float]], near: float = 0.01) -> dict[str, tuple[float, float]]:
    """Return points by label; those that lie within a share of each other have one label."""
    groups: list[tuple[tuple[float, float], list[str]]] = []
    for name, point in points.items():
        same = [names for other, names in groups if _alike(point, other, near)]
        if same:
            same[0].append(name)
        else:
            groups.append((point, [name]))
    return {SAME.join(names): point for point, names in groups}


def _alike(one: tuple[float, float], other: tuple[float, float], near: float) -> bool:
    return all(abs(a - b) <= near * max(a, b) for a, b in zip(one, other, strict=True))


def label(axes: Any, points: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Write each point's name beside it, where nothing is written yet."""
    taken = [_around(axes, point) for point in points.values()]
    for name, point in points.items():
        taken.append(_written(axes, name, point, colours.get(name, INK), taken))


def _written(axes: Any, name: str, point: tuple[float, float], colour: str, taken: Sequence[Any]) -> Any:
    """Write a label at the first free place; return the box that it takes."""
    for x, y, side in PLACES:
        text = _annotated(axes, name, point, (x, y, side), colour)
        box = _box(text)
        if _inside(box, axes.bbox) and not any(box.overlaps(other) for other in taken):
            return box
        text.remove()
    return _box(_annotated(axes, name, point, PLACES[0], colour))


def _box(text: Any) -> Any:
    """Return the box of the words, in pixels, without the line that leads to the point."""
    text.update_positions(text.figure.canvas.get_renderer())
    return import_module("matplotlib.text").Text.get_window_extent(text)


def _annotated(
    axes: Any, name: str, point: tuple[float, float], place: tuple[float, float, str], colour: str
) -> Any:
    x, y, side = place
    far = abs(x) + abs(y) > 16
    text = axes.annotate(
        name,
        point,
        (x, y),
        textcoords="offset points",
        ha=side,
        va="center",
        color=colour,
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": THEIRS, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        if far
        else None,
    )
    text.set_in_layout(False)
    return text


def _around(axes: Any, point: tuple[float, float], radius: float = 6.0) -> Any:
    """Return the box around a point's marker, in pixels."""
    bbox: Any = import_module("matplotlib.transforms").Bbox
    x, y = axes.transData.transform(point)
    return bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _inside(box: Any, frame: Any) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0)


def colours_of(points: Iterable[str], ours: Iterable[str]) -> dict[str, str]:
    """Return the colour of each label: the provider's own are set apart."""
    own = set(ours)
    return {name: OURS if own & set(name.split(SAME)) else THEIRS for name in points}


def scatter(panels: Sequence[tuple[Any, Mapping[str, tuple[float, float]]]], ours: Iterable[str]) -> None:
    """Draw a labelled point for each name in each panel; ``ours`` are set apart by colour."""
    own = list(ours)
    for axes, points in panels:
        for name, colour in colours_of(points, own).items():
            axes.plot(*([value] for value in points[name]), "o", color=colour, zorder=3)
    panels[0][0].figure.canvas.draw()  # places are free or taken only when all have their sizes
    for axes, points in panels:
        label(axes, points, colours_of(points, own))
