"""pip's settings are read as pip reads them."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from soundnet_kd.errors import SettingsError
from soundnet_kd.pretrained.pip_settings import PipSettings, read_pip_settings

BOTH = """
import json, os, sys
sys.prefix = sys.argv[1]
from dataclasses import asdict
from pip._internal.commands import create_command
from soundnet_kd.pretrained.pip_settings import read_pip_settings
wanted = ("index_url", "extra_index_urls", "find_links", "no_index", "proxy", "cert", "client_cert", "trusted_hosts",
          "timeout", "retries")
before, found = dict(os.environ), {}
for case, variables in json.loads(sys.argv[2]).items():
    os.environ.clear()
    os.environ.update(before | variables)
    options, _ = create_command("install").parse_args([])
    found[case] = [{name: getattr(options, name) for name in wanted}, asdict(read_pip_settings())]
print(json.dumps(found))
"""
"""Prints what pip makes of its settings, and what we do."""

FILES = {
    "system/pip/pip.conf": "[global]\nindex-url = http://system.test/simple\ntimeout = 7\nretries = 3\nproxy = http://proxy.test\n",
    "home/.pip/pip.conf": "[global]\nindex-url = http://old-user.test/simple\nretries = 1\n",
    "home/.config/pip/pip.conf": "[global]\nindex_url = http://user.test/simple\ncert =\n"
    "find-links =\n    /wheels\n    http://links.test/\n[download]\nindex-url = http://other-command.test\n",
    "prefix/pip.conf": "[install]\ntrusted-host = a.test b.test:80\nno-index = false\n[global]\ncert = /ca.pem\n",
    "named.conf": "[global]\nextra-index-url = http://one.test/simple\n    http://two.test/simple\nno-index = yes\n",
}
CASES: dict[str, dict[str, str]] = {
    "files": {},
    "another file is named": {"PIP_CONFIG_FILE": "named.conf"},
    "a file that is not there is named": {"PIP_CONFIG_FILE": "nothing.conf"},
    "no files": {"PIP_CONFIG_FILE": os.devnull, "PIP_CLIENT_CERT": "/client.pem"},
    "variables": {
        "PIP_INDEX_URL": "http://variable.test/simple",
        "PIP_EXTRA_INDEX_URL": "http://three.test/ http://four.test/",
        "PIP_NO_INDEX": "on",
        "PIP_DEFAULT_TIMEOUT": "30",
        "PIP_RETRIES": "0",
        "PIP_PROXY": "",
        "PIP_CERT": "/variable.pem",
    },
}


@pytest.mark.skipif(sys.platform == "win32", reason="the places are those of Linux")
def test_settings_are_what_pip_makes_of_them(tmp_path: Path) -> None:
    """Told by pip itself, for files in all of its places: a user's old and new ones, a system's, an environment's."""
    pytest.importorskip("pip")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", BOTH, str(tmp_path / "prefix"), json.dumps(CASES)],
        env=kept | {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "system")},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    defaults = PipSettings()
    found = json.loads(done.stdout)
    assert found.keys() == CASES.keys()
    for case, (pips, ours) in found.items():
        for name in ("extra_index_urls", "find_links", "no_index", "proxy", "cert", "client_cert", "trusted_hosts"):
            # pip has None, "" and [] for nothing.
            assert (ours[name] or None) == (pips[name] or None), (case, name)
        if case == "no files":
            assert ours["index_url"] is None
            assert (ours["timeout_seconds"], ours["retries"]) == (defaults.timeout_seconds, defaults.retries)
        else:
            of_ours = (ours["index_url"], ours["timeout_seconds"], ours["retries"])
            assert of_ours == (pips["index_url"], pips["timeout"], pips["retries"]), case
    assert len({ours["index_url"] for _, ours in found.values()}) == 4


@pytest.mark.usefixtures("pip")
def test_uvs_variables_are_asked_where_pip_has_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "mine=http://one.test/simple/?a=b http://two.test/")
    monkeypatch.setenv("UV_INDEX_URL", "http://older.test/simple")
    assert read_pip_settings().index_url == "http://older.test/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "my-index=http://newer.test/simple")
    found = read_pip_settings()
    assert (found.index_url, found.extra_index_urls) == (
        "http://newer.test/simple",
        ("http://one.test/simple/?a=b", "http://two.test/"),
    )
    monkeypatch.setenv("PIP_INDEX_URL", "http://pip.test/simple")
    assert read_pip_settings().index_url == "http://pip.test/simple"


@pytest.mark.usefixtures("pip")
def test_nothing_that_is_set_up_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_RETRIES")
    assert read_pip_settings() == PipSettings()


@pytest.mark.usefixtures("pip")
def test_what_pip_cannot_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, message in (
        ("PIP_TIMEOUT", "soon", "pip's setting timeout is 'soon'; it has to be a number"),
        ("PIP_NO_INDEX", "perhaps", "pip's setting no-index is 'perhaps'; it has to be yes or no"),
        (
            "PIP_INDEX_URL",
            "http://me:secret@\u2100[1",
            "^pip is set up with an invalid address; see `pip config list`$",
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(SettingsError, match=message):
                read_pip_settings()
    (tmp_path / "pip.conf").write_text("index-url = http://a.test\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(SettingsError, match=r"pip\.conf cannot be read \(File contains no section headers.*correct it"):
        read_pip_settings()


@pytest.mark.usefixtures("pip")
def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "PROXY"):
        monkeypatch.setenv(f"PIP_{name}", "http://me:secret@host.test/")
    found = read_pip_settings()
    assert str(asdict(found)).count("secret") == 4
    assert "secret" not in repr(found)
