"""Drawings of the data flow, as SVG with a background that is legible on light and dark pages.

python -m docs.tools.drawing            # writes docs/images/*.svg
"""

import html
import pathlib
from typing import NamedTuple

IMAGES = pathlib.Path(__file__).parents[1] / "images"
WIDTH, MARGIN, STEP, LINE, GAP = 400, 16, 34, 18, 30
FILLS = {"data": "#e3f0fb", "part": "#fdf0d5", "result": "#e2f3e4"}


class Box(NamedTuple):
    """One box: kind, lines, and the label of the arrow to the next one."""

    kind: str
    lines: tuple[str, ...]
    arrow: str = ""


DRAWINGS = {
    "hyper-batch": (
        "Hyper-batch: one network, one training",
        (
            Box("data", ("batch  [B, ...]",), "tile: member by member"),
            Box("data", ("tiled batch  [M·B, ...]",)),
            Box(
                "part",
                (
                    "network of hyper-batch and ordinary layers",
                    "at hyperparameters λ  [M, 1 or B, P]",
                    "training: draws from each member's distribution",
                    "prediction: the means of the distributions",
                ),
                "split",
            ),
            Box("data", ("members  [M, B, C]",), "combine"),
            Box("result", ("prediction  [B, C],  uncertainty  [B]",)),
            Box(
                "part",
                (
                    "training step: batches of training data,",
                    "mean of the members' losses + penalties → weights",
                    "tuning step, every third: held-out data,",
                    "loss of the ensemble → bounds of the distributions",
                ),
            ),
        ),
    ),
    "hyper-deep": (
        "Hyper-deep: a search, then a selection",
        (
            Box("data", ("build_model(hp)",), "search"),
            Box("part", ("trials of any KerasTuner tuner", "one training run each"), "best hyperparameter sets"),
            Box(
                "part",
                ("each set again,", "from several random initializations"),
                "predictions on validation data",
            ),
            Box("data", ("candidates  [T, N, C],  on disk", "no live models"), "greedy_selection"),
            Box("data", ("K members with weights",)),
            Box("part", ("HyperDeepEnsemble: every member on the batch", "members  [K, B, C]"), "combine"),
            Box("result", ("prediction  [B, C],  uncertainty  [B]",)),
        ),
    ),
}


def drawing(title: str, boxes: tuple[Box, ...]) -> str:
    """Draws boxes from top to bottom, with an arrow between two of them unless the upper one is a result."""
    parts, y = [], 56
    for number, box in enumerate(boxes):
        height = STEP + LINE * (len(box.lines) - 1)
        parts.append(
            f'<rect x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="6" fill="{FILLS[box.kind]}"'
            ' stroke="#5b6b7b"/>'
        )
        for line, text in enumerate(box.lines):
            parts.append(_text(WIDTH / 2, y + 22 + LINE * line, text))
        y += height
        if number == len(boxes) - 1:
            break
        if box.kind != "result":
            parts.append(
                f'<path d="M{WIDTH / 2} {y + 2} v{GAP - 8}" stroke="#5b6b7b" stroke-width="1.5"'
                ' marker-end="url(#arrow)"/>'
            )
            if box.arrow:
                parts.append(_text(WIDTH / 2 + 12, y + 19, box.arrow, size=11, anchor="start"))
        y += GAP
    height = y + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{html.escape(title)}" font-family="DejaVu Sans, Verdana, Arial, sans-serif">\n'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#5b6b7b"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff" stroke="#c8d0d8"/>\n'
    )
    return head + "\n".join([_text(WIDTH / 2, 34, title, size=15, weight="bold"), *parts]) + "\n</svg>\n"


def _text(x: float, y: float, text: str, size: int = 13, weight: str = "normal", anchor: str = "middle") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="#1c2733">'
        f"{html.escape(text)}</text>"
    )


def drawings() -> dict[str, str]:
    """Returns the text of each file by name."""
    return {f"{name}.svg": drawing(*content) for name, content in DRAWINGS.items()}


if __name__ == "__main__":
    for name, text in drawings().items():
        (IMAGES / name).write_text(text)
