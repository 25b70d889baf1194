"""The sections of the page: each has a module, a template and, if needed, a script; `page.py` lists them in order."""
