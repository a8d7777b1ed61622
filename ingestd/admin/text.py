"""Figures for people: sizes, durations, tables."""


def bytes_text(count: int) -> str:
    """``67108864`` as ``64 MiB``; exact below 1 KiB, else to three digits; whole from 100 units on."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{value:.{'3g' if value < 100 else '0f'}} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def duration_text(duration_ms: int) -> str:
    """``90061000`` as ``1d 1h``: the two largest units."""
    seconds = max(0, duration_ms) // 1000
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{value}{unit}" for value, unit in parts[:2] if value or len(parts) == 1)


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns aligned; the first one to the left, the others to the right. The first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
