"""Lines on logarithmic axes, as an SVG that a page can show: for the documentation's plots, without another package.

Pure. Owns how it looks; what is drawn is the benchmark's own data.
"""

import math
from typing import NamedTuple

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 78, 40, 48, 56  # the last number below an axis has half its width to the right of it
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:15px}.s{font-size:13px;fill:#59636e}"
)


class Line(NamedTuple):
    """One line: its name, its colour, and its points."""

    name: str
    colour: str
    points: list[tuple[float, float]]


def plot(title: str, below: str, beside: str, lines: list[Line]) -> str:
    """Return an SVG of the *lines*, each with its name in its middle; *below* and *beside* name the axes."""
    across = [x for line in lines for x, _ in line.points]
    upwards = [y for line in lines for _, y in line.points]
    low, high = 10 ** math.floor(math.log10(min(upwards))), 10 ** math.ceil(math.log10(max(upwards)))

    def x_of(value: float) -> float:
        share = math.log(value / min(across)) / math.log(max(across) / min(across))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - math.log(value / low) / math.log(high / low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text class="t" x="{LEFT}" y="26">{title}</text>',
    ]
    mark = float(low)
    while mark <= high:
        y = y_of(mark)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d1d9e0"/>')
        parts.append(f'<text class="s" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{mark:,.0f}</text>')
        mark *= 10
    parts += [
        f'<text class="s" x="{x_of(value):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value:,.9g}</text>'
        for value in sorted({*across})
    ]
    for line in lines:
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{line.colour}"/>' for x, y in line.points
        ]
        middle_on = line.points[len(line.points) // 2 :][:2]
        # Above the line also where that goes up under its name.
        place = f'x="{x_of(middle_on[0][0]):.1f}" y="{min(y_of(y) for _, y in middle_on) - 10:.1f}"'
        parts.append(f'<text {place} style="fill:{line.colour}">{line.name}</text>')
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts += [
        f'<text class="s" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{below}</text>',
        f'<text class="s" transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{beside}</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)
