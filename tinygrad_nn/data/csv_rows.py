"""A CSV file as rows of text, each with its place in the file."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tinygrad_nn.errors import DataError

__all__ = ["CsvRows", "cell_place", "read_rows"]

DELIMITERS = ",;\t"
# Bytes that are no UTF-8 are decoded to U+DC80..U+DCFF ("surrogateescape"), and NUL is
# put next to them, so that they keep their place until a message can name it.
NUL = "\udc00"
DAMAGE = re.compile("[\udc00-\udcff]")


@final
@dataclass(frozen=True)
class CsvRows:
    """The cells of a file below its header, without surrounding blanks.

    Attributes
    ----------
    path : str
        The file, as messages name it.
    header : tuple of str
        Different, non-empty column names.
    cells : list of lists of str
        As many cells a row as the header has.
    lines : list of int
        The line, counted from 1, on which each row starts.
    """

    path: str
    header: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]


def cell_place(path: str, line: int, column: str) -> str:
    """How every message names a cell.

    >>> cell_place("a.csv", 3, "age")
    "a.csv, row 3, column 'age'"
    """
    return f"{path}, row {line}, column {column!r}"


def read_rows(path: str | os.PathLike[str]) -> CsvRows:
    """Read a CSV file: UTF-8, with a header, separated by comma, semicolon or tab.

    A byte order mark, blank lines, quoted cells, and line ends of any system are
    accepted. In a file of one column a blank line is an empty cell, but for the
    blank lines at the end.

    Raises
    ------
    DataError
        Naming the file, the row (the line on which it starts) and the column.
    """
    place = os.fspath(path)
    text = _text(place)
    delimiter = _delimiter(text)
    records = _records(place, text, delimiter)
    if DAMAGE.search(text):
        _refuse_damage(place, records)
    first, header = next(
        ((line, cells) for line, cells in records if not _is_blank(cells)), (0, [])
    )
    if not header:
        raise DataError(
            f"{place}: expected a header and rows of data; got an empty file. "
            "Name the columns in the first row"
        )
    _check_header(place, first, header)
    cells: list[list[str]] = []
    lines: list[int] = []
    skipped: list[int] = []
    for line, row in records:
        if _is_blank(row):
            skipped.append(line)
            continue
        if len(header) == 1:
            cells.extend([""] for _ in skipped)
            lines.extend(skipped)
        skipped.clear()
        _check_width(place, line, header, row)
        cells.append(row)
        lines.append(line)
    if not cells:
        raise DataError(
            f"{place}, row {first + 1}: expected rows of data below the header; got "
            "none. Add one row for each example"
        )
    return CsvRows(place, tuple(header), cells, lines)


def _text(place: str) -> str:
    """Content of the file, with what is not text marked."""
    try:
        content = Path(place).read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{place}: expected a CSV file; got no such file. Check the path"
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"{place}: expected a CSV file; got a directory. Name a file inside it"
        ) from None
    except OSError as error:
        raise DataError(
            f"{place}: expected a readable CSV file; got {error.strerror}. "
            "Check the path and its permissions"
        ) from None
    text = content.decode("utf-8-sig", errors="surrogateescape")
    return text.replace("\0", NUL)


def _records(place: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every record with the line on which it starts; a quoted cell may span lines."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{place}, row {line}: expected cells in matching double quotes; got "
            f"{error}. Double a quote that is part of a cell"
        ) from None


def _delimiter(text: str) -> str:
    """Find the separator that cuts the header most; a comma when in doubt."""

    def header_cells(delimiter: str) -> int:
        try:
            for _, cells in _records("", text, delimiter):
                if not _is_blank(cells):
                    return len(cells)
        except DataError:  # the quotes do not match under this separator
            return 0
        return 0

    return max(DELIMITERS, key=header_cells)


def _is_blank(cells: list[str]) -> bool:
    return cells in ([], [""])


def _refuse_damage(place: str, records: Iterator[tuple[int, list[str]]]) -> None:
    header: list[str] = []
    for line, cells in records:
        for position, cell in enumerate(cells):
            found = DAMAGE.search(cell)
            if found is None:
                continue
            # In the header itself, and beyond its width, a column has but a number.
            named = position < len(header)
            column = repr(header[position]) if named else str(position + 1)
            code = 0 if found[0] == NUL else ord(found[0]) - 0xDC00
            raise DataError(
                f"{place}, row {line}, column {column}: expected UTF-8 text; got the "
                f"byte 0x{code:02x}. Save the table as CSV in UTF-8"
            )
        header = header or cells


def _check_header(place: str, line: int, header: list[str]) -> None:
    for position, name in enumerate(header):
        if not name:
            raise DataError(
                f"{place}, row {line}, column {position + 1}: expected a column name; "
                "got an empty cell. Name the column or remove it"
            )
        if name in header[:position]:
            raise DataError(
                f"{place}, row {line}: expected different column names; got {name!r} "
                f"as columns {header.index(name) + 1} and {position + 1}. Rename one"
            )
    counted = [str(start + i) for start in (0, 1) for i in range(len(header))]
    # Tables of pixels do name their columns 0, 1, 2, ...
    is_counted = header in (counted[: len(header)], counted[len(header) :])
    if not is_counted and all(map(_is_number, header)):
        raise DataError(
            f"{place}, row {line}: expected a header that names the columns; got the "
            f"numbers {', '.join(header[:4])}{', …' * (len(header) > 4)}. "
            "Put a row of names first"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_width(place: str, line: int, header: list[str], row: list[str]) -> None:
    if len(row) < len(header):
        raise DataError(
            f"{cell_place(place, line, header[len(row)])}: expected {len(header)} "
            f"cells as in the header; got {len(row)}. Add the missing cells"
        )
    if len(row) > len(header):
        raise DataError(
            f"{place}, row {line}, column {len(header) + 1}: expected {len(header)} "
            f"cells as in the header; got {len(row)}. Put a cell that holds the "
            "separator in double quotes"
        )
