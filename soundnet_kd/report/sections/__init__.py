"""The sections of the page, a module, a script and a template for each; `SECTIONS` in `page.py` has them in order."""
