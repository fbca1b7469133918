"""Looks at what a pack shows people: `pictures KEPT DRAWN`, `words PAGE`, `workbook PACK`."""

import csv
import datetime
import html.parser
import pathlib
import re
import sys

# Of 255: how far a patch of 6 by 6 points may be from the one that is kept.
TOLERANCE = 20


def pictures(kept, drawn):
    from PIL import Image, ImageChops

    names = [sorted(path.name for path in pathlib.Path(folder).glob("*.png")) for folder in (kept, drawn)]
    if names[0] != names[1]:
        print(f"sheets: kept {names[0]}, drawn {names[1]}")
        return
    for name in names[0]:
        one, two = (Image.open(pathlib.Path(folder) / name).convert("L") for folder in (kept, drawn))
        if one.size != two.size:
            print(f"{name}: {one.size}, drawn {two.size}")
            continue
        patches = [image.reduce(6) for image in (one, two)]
        difference = ImageChops.difference(*patches)
        worst = difference.getextrema()[1]
        if worst > TOLERANCE:
            at = list(difference.getdata()).index(worst)
            x, y = at % difference.width * 6, at // difference.width * 6
            print(f"{name}: a patch at {x},{y} is {worst} of 255 off")


class Words(html.parser.HTMLParser):
    """The text of a page, a line for each element that has some."""

    def __init__(self):
        super().__init__()
        self.without = 0

    def handle_starttag(self, tag, _):
        self.without += tag in ("head", "title")

    def handle_endtag(self, tag):
        self.without -= tag in ("head", "title")

    def handle_data(self, text):
        if not self.without and text.strip():
            print(" ".join(text.split()))


def words(page):
    Words().feed(pathlib.Path(page).read_text())


def workbook(pack):
    """Each sheet has the cells of its CSV, typed."""
    import openpyxl

    pack = pathlib.Path(pack)
    book = openpyxl.load_workbook(pack / "tables.xlsx")
    for sheet in book.worksheets:
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row), f"{sheet.title}: a formula"
        with open(pack / f"{sheet.title}.csv", newline="") as file:
            rows = list(csv.reader(file))
        theirs = list(sheet.iter_rows(values_only=True))
        assert len(rows) == len(theirs), (sheet.title, len(rows), len(theirs))
        assert sheet.auto_filter.ref and sheet.freeze_panes == "A2", sheet.title
        for row, cells in zip(rows, theirs):
            for text, cell in zip(row, cells, strict=True):
                if isinstance(cell, datetime.datetime):
                    said = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None)
                    same = abs(cell - said) < datetime.timedelta(milliseconds=1)
                elif isinstance(cell, (int, float)):
                    same = float(text) == cell
                else:
                    same = (cell or "") == re.sub("^'(?=[=+@-])", "", text)
                    typed = re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z|-?\d+", text)
                    assert not typed, f"{sheet.title}: {text} is a text"
                assert same, (sheet.title, text, cell)
    print(*[sheet.title for sheet in book.worksheets])


if __name__ == "__main__":
    {"pictures": pictures, "words": words, "workbook": workbook}[sys.argv[1]](*sys.argv[2:])
