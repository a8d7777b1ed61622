"""The status page for people: one HTML document without scripts, which loads itself anew."""

from html import escape
from typing import Final

from ingestd.admin import tables
from ingestd.admin.status import Status

RELOAD_SECONDS: Final = 5
_STYLE: Final = (
    "body{font-family:sans-serif;margin:2em;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid #ccc}"
    "th:first-child,td:first-child{text-align:left}.well{color:#060}.degraded{color:#a00}"
)


def render(status: Status, now_ms: int, tick_ms: int) -> bytes:
    """The page in UTF-8."""
    complaints = status.complaints(tick_ms)
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{RELOAD_SECONDS}">',
        f"<title>ingestd: {'degraded' if complaints else 'well'}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(tables.title(status, now_ms))}</h1>",
        *(f'<p class="degraded">degraded: {escape(complaint)}</p>' for complaint in complaints),
        "" if complaints else '<p class="well">well</p>',
        _list(tables.troubles(status, tick_ms)),
        _table(tables.workers(status, tick_ms)),
        *(f"<p>{escape(line)}</p>" for line in tables.drains(status)),
        _table(tables.books(status)),
        _table(tables.topics(status, now_ms)),
        _list(tables.remarks(status)),
        '<p><a href="metrics">metrics</a> <a href="healthz">healthz</a> <a href="readyz">readyz</a></p></body></html>',
    ]
    return "\n".join(part for part in parts if part).encode()


def _table(rows: tables.Rows) -> str:
    if len(rows) == 1:
        return ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
