"""HTML made for a browser: what of it a reader of paper sees."""

import base64
import re
from html import unescape

from bs4 import BeautifulSoup

LIVE = ["script", "iframe", "video", "audio", "canvas", "object", "embed", "input", "button"]
UNSEEN = [*LIVE, "style", "template", "noscript", "select", "textarea", "dialog"]
STRUCTURE = ["table", "img", "ul", "ol", "dl", "p", "h1", "h2", "h3", "h4"]
NOTICE = re.compile(
    r"rerun this cell to show|Make this Notebook Trusted|does not support|Loading BokehJS", re.IGNORECASE
)
SVG = re.compile(r"<svg\b([^>]*)>.*?</svg>", re.DOTALL | re.IGNORECASE)
DATA_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\\\s]+")
# Without any of these it is text and tables, as pandas writes them.
SIGNS = re.compile(rf"<(?:{'|'.join(UNSEEN).replace('style|', '')})\b|hidden|display|list-inline", re.IGNORECASE)


def drawing(match: re.Match) -> str:
    """Return an inline SVG as a picture (an HTML parser would change its names), an icon as nothing."""
    width = re.search(r"""(?<![-\w])width\s*[=:]\s*["']?(\d[\d.]*)(?![\d.%])""", match[1])
    if width and float(width[1]) < 48:
        return ""
    name = ' xmlns="http://www.w3.org/2000/svg"' if "xmlns" not in match[1] else ""
    code = match[0].replace("<svg", "<svg" + name, 1).encode()
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(code).decode()}">'


def for_pandoc(html: str) -> str:
    """Return HTML with what pandoc would lose in it: names in drawings, cells, and spans out of a table's head."""
    html = re.sub(r"""\s(?:col|row)span=["']?0\b["']?""", "", SVG.sub(drawing, html))
    if "rowspan" not in html or "<thead" in html:
        return html
    soup = BeautifulSoup(html, "html.parser")
    for table in soup("table"):
        rows = [row for row in table("tr") if row.find_parent("table") is table]
        if not rows or rows[0].find("td"):
            continue  # pandoc makes no head of the first row
        depth = 1
        for i, row in enumerate(rows):
            for cell in row(["td", "th"]) if i < depth else ():
                depth = max(depth, i + int(re.match(r"\d*", cell.get("rowspan", ""))[0] or 1))
        if depth >= len(rows):  # the names of rows, and no head
            for cell in rows[0]("th"):
                cell.name = "td"
        else:
            head = soup.new_tag("thead")
            (rows[0].find_parent("tbody") or rows[0]).insert_before(head)
            head.extend(rows[:depth])
    return str(soup)


def hidden(element) -> bool:
    """Tell whether a browser does not draw an element, by its own attributes."""
    style = re.sub(r"\s", "", element.get("style", "")).lower()
    attributes = element.has_attr("hidden") or element.get("aria-hidden") == "true"
    return attributes or "display:none" in style or "visibility:hidden" in style


def flat(html: str) -> str:
    """Return HTML as plain text: a line for each row, paragraph or item, cells apart by tabs."""
    html = html if "<pre" in html else " ".join(html.split())
    html = re.sub(r"(?i)<style.*?</style>|</t[dh]>", lambda m: "\t" if m[0][:2] == "</" else "", html)
    return unescape(re.sub("<[^>]*>", "", re.sub(r"(?i)<(?:tr|li|p|br|dt|h\d)\b", r"\n\g<0>", html)))


def readable(html: str) -> tuple[str, bool]:
    """Return what of HTML can be read on paper, and whether a program of the browser's shows more or better."""
    html = for_pandoc(html)
    if not SIGNS.search(html):
        return html if "<img" in html or flat(html).strip() else "", False
    soup = BeautifulSoup(html, "html.parser")
    boxes = soup.find(["div", *LIVE[1:]]) is not None
    widget = soup.find(LIVE) is not None
    first = DATA_PICTURE.search(" ".join(script.get_text() for script in soup("script")))
    for element in soup(lambda tag: tag.name in UNSEEN or hidden(tag)):
        widget = widget or element.name != "style"
        element.extract()
    for notice in [text.parent for text in soup(string=NOTICE)] + soup.select("img:not([src]), img[src='']"):
        notice.extract()
    for items in soup.select(".list-inline"):  # R's vectors
        items.replace_with(" · ".join(item.get_text(" ", strip=True) for item in items("li")))
    if not soup.find(STRUCTURE) and widget and first:  # an animation
        source = re.sub(r"[\\\s]", "", first[0])
        return f'<img alt="Ảnh đầu của hoạt hình" src="{source}">', False
    text = str(soup) if soup.find("img") or soup.get_text(strip=True) else ""
    return text, widget and boxes and not soup.find(STRUCTURE)
