"""HTML made for a browser: what of it a reader of paper sees."""

import base64
import copy
import re

from bs4 import BeautifulSoup

LIVE = ["script", "iframe", "video", "audio", "canvas", "object", "embed", "input", "button"]
UNSEEN = [*LIVE, "style", "template", "noscript", "select", "textarea", "dialog", "label"]
STRUCTURE = ["table", "img", "ul", "ol", "dl", "p", "h1", "h2", "h3", "h4"]
NOTICE = re.compile(
    r"rerun this cell to show|Make this Notebook Trusted|does not support|Loading BokehJS", re.IGNORECASE
)
LONGEST, BEGINNING, END = 150, 60, 20  # rows of a table
SVG = re.compile(r"<svg\b([^>]*)>.*?</svg>", re.DOTALL | re.IGNORECASE)
DATA_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\\\s]+")
# Without any of these it is text and tables, as pandas writes them.
SIGNS = re.compile(
    "<(?:" + "|".join(UNSEEN).replace("style|", "") + r"|svg)\b|hidden|display|list-inline", re.IGNORECASE
)


def drawing(match: re.Match) -> str:
    """Return an inline SVG as a picture (an HTML parser would change its names), an icon as nothing."""
    width = re.search(r"""\bwidth\s*[=:]\s*["']?([\d.]+)(?!%)""", match[1])
    if not width or float(width[1]) < 48:
        return ""
    name = ' xmlns="http://www.w3.org/2000/svg"' if "xmlns" not in match[1] else ""
    code = match[0].replace("<svg", "<svg" + name, 1).encode()
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(code).decode()}">'


def hidden(element) -> bool:
    """Tell whether a browser does not draw an element, by its own attributes."""
    style = re.sub(r"\s", "", element.get("style", "")).lower()
    attributes = element.has_attr("hidden") or element.get("aria-hidden") == "true"
    return attributes or "display:none" in style or "visibility:hidden" in style


def shorten(table) -> None:
    """Leave of a table that is too long for paper its beginning and end, each cell in its column."""
    rows = [row for row in table("tr") if row.find_parent("table") is table and row.parent.name != "thead"]
    if len(rows) <= LONGEST:
        return
    covered: dict[int, tuple] = {}  # by cells that span several rows: column -> (the last row, the cell)
    for number, row in enumerate(rows):
        column = 0
        for cell in [*row(["td", "th"], recursive=False), None]:
            while column in covered and covered[column][0] >= number:
                last, above = covered[column]
                if number == len(rows) - END:
                    again = copy.copy(above)
                    again["rowspan"] = last - number + 1
                    (cell.insert_before if cell else row.append)(again)
                column += int(above.get("colspan", 1))
            if cell and (span := int(cell.get("rowspan", 1))) > 1:
                covered[column] = number + span - 1, copy.copy(cell)
                cell["rowspan"] = min(span, max(BEGINNING - number, 1) if number < BEGINNING else span)
            column += int(cell.get("colspan", 1)) if cell else 0
    for row in rows[BEGINNING + 1 : -END]:
        row.extract()
    rows[BEGINNING].replace_with(BeautifulSoup("<tr>" + "<td>…</td>" * column + "</tr>", "html.parser"))
    table.insert_after(f"Ở đây đã lược bớt {len(rows) - BEGINNING - END} hàng; notebook có đủ.")


def readable(html: str) -> tuple[str, str]:
    """Return what of HTML can be read on paper ("" if nothing), and what it is otherwise.

    That is ``"widget"`` where a program of the browser's shows more or better than what is left, else ``""``.
    """
    if not SIGNS.search(html) and html.count("<tr") <= LONGEST:
        return (html, "") if re.sub("<style.*?</style>|<[^i][^>]*>", "", html, flags=re.DOTALL).strip() else ("", "")
    soup = BeautifulSoup(SVG.sub(drawing, html), "html.parser")
    boxes = soup.find(["div", *LIVE[1:]]) is not None
    widget = soup.find(LIVE) is not None
    first = DATA_PICTURE.search(" ".join(script.get_text() for script in soup("script")))
    for element in soup(lambda tag: tag.name in UNSEEN or hidden(tag)):
        widget = widget or element.name != "style"
        element.extract()
    for notice in soup(string=NOTICE):
        notice.parent.extract()
    for empty in soup(lambda tag: tag.name == "img" and not tag.get("src")):  # for a script to fill
        empty.extract()
    for table in soup("table"):
        shorten(table)
    for items in soup.select(".list-inline"):  # R's vectors
        items.replace_with(" · ".join(item.get_text(" ", strip=True) for item in items("li")))
    if not soup.find(STRUCTURE) and widget and first:  # an animation
        source = re.sub(r"[\\\s]", "", first[0])
        return f'<img alt="Ảnh đầu của hoạt hình" src="{source}">', ""
    text = str(soup) if soup.find("img") or soup.get_text(strip=True) else ""
    return text, "widget" if widget and boxes and not soup.find(STRUCTURE) else ""
