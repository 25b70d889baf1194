"""Check a site that was built: every link inside it leads somewhere, and nothing that it needs comes from a network.

`python docs/builders/check_site.py build/docs`
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, where it links to, and the files that it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element is called, and what it points at."""
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload") and "href" in given:
            self.loaded.append(given["href"])
        if tag in ("script", "img", "audio", "video", "source", "iframe") and "src" in given:
            self.loaded.append(given["src"])


def wrong_links(site: Path) -> list[str]:
    """Return a line for each link that leads nowhere, and for each file that would come from a network."""
    site = site.resolve()
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    wrong = []
    for file, page in pages.items():
        name = file.relative_to(site)
        for address in page.loaded:
            parts = urlsplit(address)
            if parts.netloc or (parts.scheme and parts.scheme != "data"):
                wrong.append(f"{name}: {address} comes from a network")
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                wrong.append(f"{name}: there is no {address}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{name}: there is no place {address}")
    return wrong if pages else [f"{site} holds no page"]


def main(site: str) -> int:
    """Print what is wrong, and return 1 where anything is."""
    wrong = wrong_links(Path(site))
    print("\n".join(wrong) or f"{site}: every link inside leads somewhere")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
