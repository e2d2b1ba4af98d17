"""What an editor shows of a public name tells since when there is one."""

import inspect

import pytest

import swpt_pythonlib.flask_signalbus
import swpt_pythonlib.flask_signalbus.testing

pytestmark = pytest.mark.once

PUBLIC = [
    (module, name)
    for module in (
        swpt_pythonlib.flask_signalbus,
        swpt_pythonlib.flask_signalbus.testing,
    )
    for name in module.__all__
]


def test_each_public_name_says_since_which_version_it_is_there() -> None:
    documents = {name: inspect.getdoc(getattr(module, name)) for module, name in PUBLIC}

    silent = [
        name for name, text in documents.items() if "versionadded" not in str(text)
    ]

    assert silent == []
