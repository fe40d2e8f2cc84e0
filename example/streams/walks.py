"""How far do random walks get? A Monte Carlo sweep, with confidence intervals and a plot.

    python walks.py [--error 0.05] [--steps 10 40 160] [--plot walks.svg] [--on tcp://HOST:5555]

Each combination of a number of steps and a kind of step is tried until its mean distance is known
to within --error of itself, with 95 % confidence. The table is printed and goes to walks.csv. The
plot is matplotlib's if that is installed (pip install 'pypelinin[streams]'); else a plain SVG is
drawn here.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.streams.baked import sweep

COLOURS = {"unit": "#1f6fb4", "normal": "#c8502d"}
WIDTH, HEIGHT, MARGIN = 640, 420, 60


def distance(steps: int, kind: str, dice: random.Random) -> float:
    """From the start to where one walk in the plane ends."""
    x = y = 0.0
    for _ in range(steps):
        angle = dice.uniform(0, 2 * math.pi)
        length = 1.0 if kind == "unit" else abs(dice.gauss(0, 1))
        x, y = x + length * math.cos(angle), y + length * math.sin(angle)
    return math.hypot(x, y)


def expected(steps: float) -> float:
    """The mean distance of long walks whose steps have a mean square of 1."""
    return math.sqrt(math.pi * steps) / 2


def measure(steps: list[int], error: float, on: str | None) -> Sequence[Mapping[str, Any]]:
    """One row for each number of steps and kind."""
    variables = {"steps": steps, "kind": list(COLOURS)}
    allowed = {"E": error, "eps": 0.0}
    with sweep(variables, 0, "walks.csv", allowed, showProgress=False, on=on) as w:

        @w.job
        def walk(id: int, trial: int, steps: int, kind: str) -> dict[str, float]:
            dice = random.Random(f"{id} {trial}")  # the same walks each time
            return {"distance": distance(steps, kind, dice)}

    return w.rows


# --- the plot -----------------------------------------------------------------------------


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> str:
    """Draw *rows* to *path*; says with what."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        path.write_text(svg(rows), encoding="utf-8")
        return "without matplotlib"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(WIDTH / 100, HEIGHT / 100))
    for kind, colour in COLOURS.items():
        chosen = [row for row in rows if row["kind"] == kind]
        axes.errorbar(
            [row["steps"] for row in chosen], [row["distance"] for row in chosen],
            [row["distance_err"] for row in chosen], fmt="o", capsize=4, color=colour,
            label=f"{kind} steps",
        )  # fmt: skip
    line = curve(rows)
    axes.plot(*zip(*line, strict=True), color="#888888", label="expected")
    axes.set(xlabel="steps", ylabel="mean distance")
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)
    return "with matplotlib"


def curve(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Where the means should lie."""
    most = max(row["steps"] for row in rows)
    return [(most * part / 50, expected(most * part / 50)) for part in range(51)]


def svg(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same plot, as plain as can be."""
    right = max(row["steps"] for row in rows) * 1.05
    top = max(row["distance"] + row["distance_err"] for row in rows) * 1.05

    def at(x: float, y: float) -> tuple[float, float]:
        inner_width, inner_height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
        return (
            round(MARGIN + x / right * inner_width, 1),
            round(HEIGHT - MARGIN - y / top * inner_height, 1),
        )

    def line(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
        (x1, y1), (x2, y2) = start, end
        return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"/>'

    def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "black") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

    corner = at(0, 0)
    points = " ".join(f"{x},{y}" for x, y in (at(*point) for point in curve(rows)))
    parts = [
        line(corner, at(right, 0), "black"),
        line(corner, at(0, top), "black"),
        f'<polyline points="{points}" fill="none" stroke="#888888"/>',
        text(WIDTH / 2, HEIGHT - 15, "steps"),
        text(MARGIN, MARGIN - 15, f"mean distance, up to {top:.1f}; grey: expected", "start"),
    ]
    for place, (kind, colour) in enumerate(COLOURS.items()):
        parts.append(text(MARGIN + 20, MARGIN + 20 * (place + 1), f"{kind} steps", "start", colour))
    for row in rows:
        colour, steps, mean = COLOURS[row["kind"]], row["steps"], row["distance"]
        error = row["distance_err"]
        x, y = at(steps, mean)
        parts += [
            f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>',
            line(at(steps, mean - error), at(steps, mean + error), colour),
            text(x, corner[1] + 18, str(steps)),
        ]
    inside = "\n".join(parts)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="13"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{inside}\n</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description="How far random walks get")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--error", type=float, default=0.05, help="of the mean, at most")
    parser.add_argument("--plot", type=Path, default=Path("walks.svg"))
    parser.add_argument("--on", help="the address of a Router; without it slots of this process")
    given = parser.parse_args()
    rows = measure(given.steps, given.error, given.on)
    print(f"{given.plot} drawn {plot(rows, given.plot)}; the table is in walks.csv")


if __name__ == "__main__":
    main()
