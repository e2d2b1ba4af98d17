"""The declarative bases that signal models may have."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, DeclarativeBaseNoMeta

from support.broker import broker
from support.models import Sends, text_column
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class Plain(DeclarativeBase):
    """A declarative base of SQLAlchemy 2."""


class NoMeta(DeclarativeBaseNoMeta):
    """The same without a metaclass."""


BASES = [None, Plain, NoMeta]


@pytest.fixture(params=BASES, ids=str)
def base(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Return the options that choose a declarative base."""
    if request.param is None:
        yield {}
        return

    # Each test has a registry of its own.
    body = {"metadata": sa.MetaData(), "__module__": __name__}
    bases = request.param.__bases__
    yield {"model_class": type(request.param.__name__, bases, body)}


@pytest.mark.parametrize(
    "mixins",
    [
        (SignalBusMixin,),
        (SignalBusMixin, AtomicProceduresMixin),
        (AtomicProceduresMixin, SignalBusMixin),
    ],
    ids=lambda mixins: "+".join(mixin.__name__ for mixin in mixins),
)
def test_every_declarative_base_will_do(
    mixins: tuple[type, ...], base: dict[str, Any], make_db: DBFactory
) -> None:
    """A12: that Flask-SQLAlchemy accepts, with the mixins in any order."""
    own_db = make_db(*mixins, **base)

    @model_of(own_db)
    class Message(Sends, OwnModel):
        __tablename__ = "message"
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    message: Any = Message()
    message.text = "hello"
    own_db.session.add(message)
    own_db.session.commit()

    assert own_db.signalbus.get_signal_models() == [Message]
    assert own_db.signalbus.flushmany() == 1
    assert broker().sent == ["hello"]
