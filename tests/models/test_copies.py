"""Copies of a package beside the package and beside each other: each runs its own code, wherever it imports it."""

from __future__ import annotations

import sys

import pytest

from greenlight.errors import UserError
from greenlight_forecasters.copies import import_copy, package_in

FILES = {
    "__init__.py": "",
    "value.py": "VALUE = {value}\n",
    "user.py": (
        "import somebodys.value\n"
        "import somebodys.value as short\n"
        "from somebodys import value as direct\n"
        "from .value import VALUE as relative\n"
        "def late():\n"
        "    import somebodys.inner.deep\n"
        "    from somebodys.value import VALUE\n"
        "    return VALUE, somebodys.inner.deep.VALUE\n"
        "def seen():\n"
        "    return somebodys.value.VALUE, short.VALUE, direct.VALUE, relative, *late()\n"
    ),
    "inner/deep.py": "from ..value import VALUE\nimport json, somebodys.value\n",
    "broken.py": "\n\nraise ValueError('line three')\n",
}


def write(folder, value):
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{value}", str(value)))
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package itself on the path."""
    write(tmp_path / "site" / "somebodys", 0)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "somebodys"]:
        del sys.modules[name]


def test_each_runs_its_own_code_also_where_it_imports_late(tmp_path, installed):
    one, two = (import_copy(write(tmp_path / f"copy {n}", n), "somebodys", "user") for n in (1, 2))
    assert one.seen() == (1,) * 6 and two.seen() == (2,) * 6
    import somebodys.user

    assert somebodys.user.seen() == (0,) * 6
    assert one.seen() == (1,) * 6
    assert import_copy(tmp_path / "copy 1", "somebodys", "user") is one


def test_parts_that_are_imported_as_if_they_stood_alone_are_the_copys(tmp_path):
    folder = write(tmp_path / "copy", 1)
    lines = ("import inner.deep", "import value as short", "from value import VALUE", "import json, ast")
    (folder / "ast.py").write_text("")  # as a module of Python's own is called, which is meant
    (folder / "alone.py").write_text("\n".join(lines) + "\nSEEN = inner.deep.VALUE, short.VALUE, VALUE, ast.parse\n")
    import ast

    assert (1, 1, 1, ast.parse) == import_copy(folder, "somebodys", "alone").SEEN
    assert not {"inner", "value"} & set(sys.modules)


def test_nothing_is_written_to_its_folder(tmp_path):
    import_copy(write(tmp_path / "copy", 1), "somebodys", "user")
    assert not list(tmp_path.rglob("*.pyc"))


def test_an_error_names_its_file_and_line(tmp_path):
    with pytest.raises(ValueError, match="line three") as caught:
        import_copy(write(tmp_path / "copy", 1), "somebodys", "broken")
    last = caught.traceback[-1]
    assert str(last.path) == str(tmp_path / "copy" / "broken.py") and last.lineno == 2


def test_a_module_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"somebodys_copy_\d+\.absent"):
        import_copy(write(tmp_path / "copy", 1), "somebodys", "absent")


def test_a_copy_is_found_a_few_folders_deep_and_of_several_none_is_chosen(tmp_path):
    inner = write(tmp_path / "clone" / "src" / "somebodys", 1)
    for folder in (tmp_path, tmp_path / "clone", inner.parent, inner):
        assert package_in(str(folder), "somebodys", ["user.py", "value.py"], "models.any.code") == str(inner)
    write(tmp_path / "other" / "somebodys", 2)
    with pytest.raises(UserError, match=r"holds 2 copies of the package 'somebodys': .*clone/src.*Name the folder"):
        package_in(str(tmp_path), "somebodys", ["user.py", "value.py"], "models.any.code")
    assert package_in(str(tmp_path / "other"), "somebodys", ["user.py"], "models.any.code").endswith("other/somebodys")
    with pytest.raises(UserError, match=r"clone/src/somebodys/absent\.py not found"):
        package_in(str(tmp_path / "clone"), "somebodys", ["user.py", "absent.py"], "models.any.code")
