"""A small signal bus that keeps all promises, and others that break one each."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus._models import signal_models_of

Model = type[Any]
Rows = Sequence[Any]


class HonestBus:
    """Flushes in the most obvious way; its steps are there to be broken."""

    skip_locked = True

    def __init__(self, db: SQLAlchemy) -> None:
        self.db = db

    def get_signal_models(self) -> list[Model]:
        return signal_models_of(self.db)

    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        errors: list[Exception] = []
        chosen = self.get_signal_models() if models is None else models
        sent = sum(self.flush(model, errors) for model in chosen)
        if errors:
            raise errors[0]
        return sent

    def flush(self, model: Model, errors: list[Exception]) -> int:
        keys, size = self.pending(model), self.burst_size(model)
        bursts = [keys[i : i + size] for i in range(0, len(keys), size)]
        return sum(self.burst(model, burst, errors) for burst in bursts)

    def burst_size(self, model: Model) -> int:
        return getattr(model, "signalbus_burst_count", 1)

    def pending(self, model: Model) -> Rows:
        key = sa.inspect(model).primary_key
        keys = self.db.session.execute(sa.select(*key).order_by(*key)).all()
        self.db.session.rollback()
        return keys

    def burst(self, model: Model, keys: Rows, errors: list[Exception]) -> int:
        try:
            return self.transaction(model, keys)
        except Exception as error:
            self.after_failure(model, keys)
            if len(keys) == 1:
                errors.append(error)
                return 0
            return sum(self.burst(model, [key], errors) for key in keys)
        except BaseException:
            self.db.session.rollback()
            raise

    def after_failure(self, model: Model, keys: Rows) -> None:
        self.db.session.rollback()

    def transaction(self, model: Model, keys: Rows) -> int:
        self.lock(model)
        rows = self.claim(model, keys)
        self.delete(model, rows)
        self.send(model, rows)
        self.db.session.commit()
        return len(rows)

    def lock(self, model: Model) -> None:
        # SQLite locks no rows, but a statement that could write locks the table.
        key = sa.inspect(model).primary_key[0]
        nothing = sa.update(model.__table__).where(sa.false()).values({key: key})
        self.db.session.execute(nothing)

    def claim(self, model: Model, keys: Rows) -> Rows:
        statement = sa.select(*self.columns(model)).where(self.is_one_of(model, keys))
        statement = statement.order_by(*sa.inspect(model).primary_key)
        statement = statement.with_for_update(skip_locked=self.skip_locked)
        return self.db.session.execute(statement).all()

    def columns(self, model: Model) -> list[Any]:
        attributes = sa.inspect(model).column_attrs
        return [attribute.columns[0].label(attribute.key) for attribute in attributes]

    def delete(self, model: Model, rows: Rows) -> None:
        # One by one: in bulk, MySQL would wait for other flushers' rows.
        for row in rows:
            self.db.session.execute(self.deletion(model, row))

    def deletion(self, model: Model, row: Any) -> Any:
        mapper = sa.inspect(model)
        names = [mapper.get_property_by_column(key).key for key in mapper.primary_key]
        key = tuple(getattr(row, name) for name in names)
        return sa.delete(model.__table__).where(self.is_one_of(model, [key]))

    def is_one_of(self, model: Model, keys: Rows) -> Any:
        # Not a row value, which MySQL would not look up in an index.
        columns = sa.inspect(model).primary_key
        matches = [
            sa.and_(*(c == value for c, value in zip(columns, key, strict=True)))
            for key in keys
        ]
        return sa.or_(sa.false(), *matches)

    def send(self, model: Model, rows: Rows) -> None:
        if len(rows) > 1 and hasattr(model, "send_signalbus_messages"):
            model.send_signalbus_messages(rows)
            return
        for row in rows:
            model.send_signalbus_message(row)


class ListsDirectSubclassesOnly(HonestBus):
    def get_signal_models(self) -> list[Model]:
        direct = self.db.Model.__subclasses__()
        return [model for model in super().get_signal_models() if model in direct]


class SendsTwice(HonestBus):
    def send(self, model: Model, rows: Rows) -> None:
        super().send(model, rows)
        super().send(model, rows)


class CountsNothing(HonestBus):
    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        super().flushmany(models)
        return 0


class ForgetsTheLast(HonestBus):
    def pending(self, model: Model) -> Rows:
        return super().pending(model)[:-1]


class DeletesNothing(HonestBus):
    def delete(self, model: Model, rows: Rows) -> None:
        pass


class NeverEnds(DeletesNothing):
    def flush(self, model: Model, errors: list[Exception]) -> int:
        sent = 0
        while self.pending(model):
            sent += super().flush(model, errors)
        return sent


class SendsColumnNames(HonestBus):
    def columns(self, model: Model) -> list[Any]:
        return list(model.__table__.columns)


class SendsInstances(HonestBus):
    def claim(self, model: Model, keys: Rows) -> Rows:
        statement = sa.select(model).where(self.is_one_of(model, keys))
        statement = statement.with_for_update(skip_locked=True)
        return self.db.session.scalars(statement).all()


class IgnoresBurstCount(HonestBus):
    def burst_size(self, model: Model) -> int:
        return 1000


class NeverSendsInBulk(HonestBus):
    def send(self, model: Model, rows: Rows) -> None:
        for row in rows:
            model.send_signalbus_message(row)


class CannotHoldMany(HonestBus):
    def burst_size(self, model: Model) -> int:
        return min(super().burst_size(model), 2)


class CommitsWhatFailed(HonestBus):
    def transaction(self, model: Model, keys: Rows) -> int:
        try:
            return super().transaction(model, keys)
        except Exception:
            self.db.session.commit()
            raise


class StopsAtTheFirstFailure(HonestBus):
    def burst(self, model: Model, keys: Rows, errors: list[Exception]) -> int:
        try:
            return self.transaction(model, keys)
        except BaseException:
            self.db.session.rollback()
            raise


class WrapsErrors(HonestBus):
    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        try:
            return super().flushmany(models)
        except Exception as exc:
            raise RuntimeError("The flush has failed.") from exc


class SwallowsErrors(HonestBus):
    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        with suppress(Exception):
            return super().flushmany(models)
        return 0


class IsolatesBulkFailuresOnly(HonestBus):
    """Tries a burst again one by one only if it was sent in bulk."""

    def burst(self, model: Model, keys: Rows, errors: list[Exception]) -> int:
        if hasattr(model, "send_signalbus_messages"):
            return super().burst(model, keys, errors)
        try:
            return self.transaction(model, keys)
        except Exception as error:
            self.db.session.rollback()
            errors.append(error)
            return 0


class GivesUpTheBurst(HonestBus):
    """Leaves all of a burst that failed in bulk."""

    def burst(self, model: Model, keys: Rows, errors: list[Exception]) -> int:
        if not hasattr(model, "send_signalbus_messages"):
            return super().burst(model, keys, errors)
        try:
            return self.transaction(model, keys)
        except Exception as error:
            self.db.session.rollback()
            errors.append(error)
            return 0


class GoesOnAfterInterrupts(HonestBus):
    def transaction(self, model: Model, keys: Rows) -> int:
        try:
            return super().transaction(model, keys)
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as interrupt:
            self.interrupt = interrupt
            raise InterruptedError from interrupt

    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        try:
            return super().flushmany(models)
        except InterruptedError:
            raise self.interrupt from None


class CommitsAtInterrupts(HonestBus):
    def transaction(self, model: Model, keys: Rows) -> int:
        try:
            return super().transaction(model, keys)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            self.db.session.commit()
            raise


class IgnoresRefusedDeletions(HonestBus):
    def delete(self, model: Model, rows: Rows) -> None:
        with suppress(Exception):
            super().delete(model, rows)


class SendsBeforeDeleting(HonestBus):
    def transaction(self, model: Model, keys: Rows) -> int:
        self.lock(model)
        rows = self.claim(model, keys)
        self.send(model, rows)
        self.delete(model, rows)
        self.db.session.commit()
        return len(rows)


class CommitsBeforeSending(HonestBus):
    def send(self, model: Model, rows: Rows) -> None:
        self.db.session.commit()
        super().send(model, rows)


class CommitsOnceAtTheEnd(HonestBus):
    """Makes one transaction of the whole flush, with a savepoint for each burst."""

    def transaction(self, model: Model, keys: Rows) -> int:
        self.lock(model)
        with self.db.session.begin_nested():
            rows = self.claim(model, keys)
            self.delete(model, rows)
            self.send(model, rows)
        return len(rows)

    def after_failure(self, model: Model, keys: Rows) -> None:
        pass

    def flush(self, model: Model, errors: list[Exception]) -> int:
        sent = super().flush(model, errors)
        self.db.session.commit()
        return sent


class TruncatesTheTable(HonestBus):
    def flush(self, model: Model, errors: list[Exception]) -> int:
        sent = super().flush(model, errors)
        if not errors:
            self.db.session.execute(sa.delete(model))
            self.db.session.commit()
        return sent


class WaitsForLockedRows(HonestBus):
    skip_locked = False


class LocksNothing(HonestBus):
    """Reads without a lock, and deletes what it has read in the end."""

    def lock(self, model: Model) -> None:
        pass

    def claim(self, model: Model, keys: Rows) -> Rows:
        statement = sa.select(*self.columns(model)).where(self.is_one_of(model, keys))
        rows = self.db.session.execute(statement).all()
        self.db.session.rollback()
        return rows

    def transaction(self, model: Model, keys: Rows) -> int:
        rows = self.claim(model, keys)
        self.send(model, rows)
        self.delete(model, rows)
        self.db.session.commit()
        return len(rows)


class FlushesEverything(HonestBus):
    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        return super().flushmany(None)
