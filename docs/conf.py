"""The configuration of Sphinx."""

from importlib.metadata import metadata
from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "swpt-flask-signalbus"
author = "The swpt-flask-signalbus maintainers"
copyright = f"2026, {author}"
release = version_of("swpt-flask-signalbus")
version = release

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.viewcode"]
# Generated fragments are included by pages; they are no pages themselves.
exclude_patterns = ["_build", "_generated"]
nitpicky = True

# The documentation is built without a network, so nothing tells Sphinx what
# other projects document. Their names are shown, but not linked.
nitpick_ignore_regex = [
    (r"py:.*", r"(builtins|collections|contextlib|datetime|typing|types)\..*"),
    (r"py:.*", r"(blinker|click|flask|flask_sqlalchemy|pytest|sqlalchemy)\..*"),
    # Type variables, and what modules import from those projects.
    (r"py:class", r"~?([a-z_.]+\.)?[PT]|SQLAlchemy"),
    # Builtin classes and exceptions.
    (r"py:(class|exc|obj)", r"[a-z]+|(Base)?Exception"),
    (r"py:exc", r"(Assertion|Runtime|Type|Value)Error"),
    (r"py:exc", r"GeneratorExit|KeyboardInterrupt|SystemExit"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autoclass_content = "class"

html_theme = "furo"
html_title = f"{project} {release}"
html_theme_options: dict[str, object] = {"navigation_with_keys": True}
# The owner of the repository names it in pyproject.toml, and nowhere else.
links = dict(
    link.split(", ", 1)
    for link in metadata("swpt-flask-signalbus").get_all("Project-URL") or ()
)
if "Source" in links:
    html_theme_options |= {
        "source_repository": links["Source"],
        "source_branch": "main",
        "source_directory": "docs/",
    }
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_domain_indices = False  # there is one module

# Flask looks for the file of the module that it is called from.
doctest_global_setup = """
__name__ = "__main__"

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import *
from swpt_pythonlib.flask_signalbus.testing import RecordingBroker
"""


def setup(app: Sphinx) -> None:
    """Teach Sphinx the directive ``rule`` and the role of the same name."""
    app.add_object_type("rule", "rule", indextemplate="pair: %s; rule")
