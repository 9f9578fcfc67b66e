"""Self-contained page with text, tables and embedded plots."""

import base64
import html
import io
import re
from collections.abc import Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.figure import Figure

WIDE = 8  # inches: the text of wider figures is too small at the width of a phone
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
p { max-width: 46rem; }
.lead { font-size: 1.1rem; }
.small, figcaption { color: #555; font-size: 0.9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.9rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { white-space: normal; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 6rem; padding-left: 0; }
tr.first td { font-weight: 600; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; }
.pair figure { flex: 1 1 24rem; }
@media (max-width: 40rem) {
  th, td { padding: 0.25rem 0.3rem; font-size: 0.85rem; }
  td:nth-child(2) { white-space: normal; }
  .wide img { max-width: none; width: 40rem; }
}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Returns the complete document."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def heading(text: str) -> str:
    """Starts a section."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text with code in backticks; `kind` is `"lead"` or `"small"`."""
    text = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return f'<p class="{kind}">{text}</p>' if kind else f"<p>{text}</p>"


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns a table with an emphasized first row."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{html.escape(shown(cell))}</td>" for cell in row)
        lines.append(f'<tr class="first">{cells}</tr>' if number == 0 else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def picture(figure: Figure, caption: str) -> str:
    """Returns a matplotlib figure as an embedded image, which scrolls on phones if it is wide; closes the figure."""
    kind = ' class="scroll wide"' if figure.get_figwidth() > WIDE else ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    image = f'<div{kind}><img src="data:image/png;base64,{data}" alt="{text}"></div>'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def pair(*pictures: str) -> str:
    """Returns two images side by side if the width permits."""
    return f'<div class="pair">{"".join(pictures)}</div>'


def shown(value: Any) -> str:
    """Returns a cell: numbers with three significant digits, text unchanged."""
    if value is None:
        return ""
    if isinstance(value, str | bool | int):
        return str(value)
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return str(value)
