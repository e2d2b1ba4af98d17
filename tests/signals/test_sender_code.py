"""What can be seen of a sender's code before it runs, and what is said when it has."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import sqlalchemy as sa

from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus._model_rules import send_method_reads_columns
from swpt_pythonlib.flask_signalbus._rules import Candidate
from swpt_pythonlib.flask_signalbus._sender_code import attributes_read


def traced(function: Callable[..., None]) -> Callable[..., None]:
    @wraps(function)
    def wrapper(cls: Any, *args: Any) -> None:
        cls.traced = True
        function(cls, *args)

    return wrapper


class Senders:
    @classmethod
    def single(cls, signal: Any) -> None:
        print(signal.text, signal.greet())

    @classmethod
    @traced
    def decorated(cls, signal: Any) -> None:
        signal.greet()

    @classmethod
    def bulk(cls, signals: Any) -> None:
        for signal in signals:
            print(signal.text)
        print([s.greet() for s in signals])

    @classmethod
    def reads_others(cls, signal: Any) -> None:
        order = cls.find(signal)
        print(order.total, cls.greet)

    @classmethod
    def binds_anew(cls, signal: Any) -> None:
        signal = cls.find(signal)
        signal.greet()

    @classmethod
    def calls_a_loop_variable_twice(cls, signals: Any) -> None:
        for signal in signals:
            print(signal)
        for signal in cls.find(signals):
            signal.greet()

    @staticmethod
    def static(signal: Any) -> None:
        signal.greet()

    @classmethod
    def find(cls, signal: Any) -> Any: ...

    greet = None


@pytest.mark.once
@pytest.mark.parametrize(
    ("method", "attributes"),
    [
        pytest.param(Senders.single, ["text", "greet"], id="of its argument"),
        pytest.param(Senders.decorated, ["greet"], id="under a decorator too"),
        pytest.param(Senders.bulk, ["text", "greet"], id="of what it iterates over"),
        pytest.param(Senders.reads_others, [], id="not of other objects"),
        pytest.param(Senders.binds_anew, [], id="nor of a name that is bound anew"),
        pytest.param(
            Senders.calls_a_loop_variable_twice, [], id="as that of another loop"
        ),
        pytest.param(Senders.static, [], id="without a class it isn't looked at"),
        pytest.param(len, [], id="without source there is nothing to see"),
    ],
)
def test_what_a_sender_reads_of_a_row_is_seen(
    method: Callable[..., Any], attributes: list[str]
) -> None:
    assert attributes_read(method) == attributes


def make_model(db: Any, sender: Callable[[Any, Any], None]) -> Any:
    body = {
        "id": sa.Column(sa.Integer, primary_key=True),
        "text": sa.Column("other_name", sa.String(10)),
        "greet": lambda self: f"hello, {self.text}",
        "send_signalbus_message": classmethod(sender),
    }
    return type("Greeting", (db.Model,), body)


def greets(cls: Any, signal: Any) -> None:
    signal.greet()


def reads_all(cls: Any, signal: Any) -> None:
    print(signal.id, signal.text, signal._asdict(), signal.count)


def reads_another(cls: Any, signal: Any) -> None:
    print(cls.query.greet)


def test_a_sender_that_calls_a_method_of_the_model_breaks_a_rule(
    make_db: DBFactory,
) -> None:
    """A sender gets a row (S5)."""
    fault = send_method_reads_columns.fault_of(Candidate(make_model(make_db(), greets)))

    assert fault is not None
    assert fault.found == "'send_signalbus_message' uses 'greet', which is not a column"


def test_a_sender_that_reads_columns_breaks_none(make_db: DBFactory) -> None:
    """Attributes of the row itself are as good (S5)."""
    candidate = Candidate(make_model(make_db(), reads_all))

    assert send_method_reads_columns.fault_of(candidate) is None


def test_the_error_of_a_sender_that_calls_a_method_says_what_it_has_got(
    make_db: DBFactory,
) -> None:
    """A row, and no instance (S5)."""
    db = make_db()
    model = make_model(db, greets)
    db.create_all()
    db.session.add(model(text="Alice"))
    db.session.commit()

    with pytest.raises(AttributeError) as caught:
        db.signalbus.flushmany()

    assert caught.value.__notes__[0] == (
        "A sender gets a row of the table of 'Greeting', and no instance of the model:"
        " 'greet' is not one of its columns."
    )


def test_another_attribute_error_of_a_sender_is_left_alone(make_db: DBFactory) -> None:
    db = make_db()
    model = make_model(db, reads_another)
    db.create_all()
    db.session.add(model(text="Alice"))
    db.session.commit()

    with pytest.raises(AttributeError) as caught:
        db.signalbus.flushmany()

    assert not any("A sender gets" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("sender", [lambda cls: None, lambda cls, signal, topic: None])
def test_the_error_of_a_sender_that_cannot_be_called_says_how_it_is_called(
    make_db: DBFactory, sender: Any
) -> None:
    """It names the numbers of arguments, and nobody knows who has passed them (S1)."""
    db = make_db()
    model = make_model(db, sender)
    db.create_all()
    db.session.add(model(text="Alice"))
    db.session.commit()

    with pytest.raises(TypeError) as caught:
        db.signalbus.flushmany()

    assert caught.value.__notes__[0] == (
        "The senders of 'Greeting' must be class methods that take the class and one"
        " argument, as in 'def send_signalbus_message(cls, signal)'."
    )


def test_an_error_of_what_a_sender_does_is_left_alone(make_db: DBFactory) -> None:
    db = make_db()
    model = make_model(db, lambda cls, signal: signal.text + 1)
    db.create_all()
    db.session.add(model(text="Alice"))
    db.session.commit()

    with pytest.raises(TypeError) as caught:
        db.signalbus.flushmany()

    assert "must be class methods" not in str(caught.value.__notes__)
