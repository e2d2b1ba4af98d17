"""Outbox tables as well-known systems have them, as signal models."""

import enum
import json
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import LEFT_OUT, publish, signal_model

Columns = dict[str, Any]


class Status(enum.Enum):
    SCHEDULED = 1
    SUCCEEDED = 2


def _debezium() -> Columns:
    return {
        "id": sa.Column(sa.Uuid, primary_key=True),
        "aggregatetype": sa.Column(sa.String(255), nullable=False),
        "aggregateid": sa.Column(sa.String(255), nullable=False),
        "type": sa.Column(sa.String(255), nullable=False),
        "payload": sa.Column(sa.JSON),
    }


def _eventuate() -> Columns:
    return {
        "__tablename__": "message",
        "id": sa.Column(sa.String(190), primary_key=True),
        "destination": sa.Column(sa.String(255), nullable=False),
        "headers": sa.Column(sa.Text, nullable=False),
        "payload": sa.Column(sa.Text, nullable=False),
        "published": sa.Column(sa.SmallInteger, server_default="0"),
        "creation_time": sa.Column(sa.BigInteger),
    }


def _masstransit() -> Columns:
    return {
        "id": LEFT_OUT,
        "sequence_number": sa.Column(
            sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        "enqueue_time": sa.Column(sa.DateTime(timezone=True)),
        "sent_time": sa.Column(sa.DateTime(timezone=True), nullable=False),
        "headers": sa.Column(sa.Text),
        "message_id": sa.Column(sa.Uuid, nullable=False, unique=True),
        "content_type": sa.Column(sa.String(256), nullable=False),
        "body": sa.Column(sa.Text, nullable=False),
    }


def _nservicebus() -> Columns:
    return {
        "id": LEFT_OUT,
        "message_id": sa.Column("MessageId", sa.String(190), primary_key=True),
        "dispatched": sa.Column("Dispatched", sa.Boolean, nullable=False),
        "operations": sa.Column("Operations", sa.Text, nullable=False),
        "version": sa.Column("PersistenceVersion", sa.String(23), nullable=False),
    }


def _cap() -> Columns:
    return {
        "__tablename__": "cap.published",
        "id": sa.Column(sa.BigInteger, primary_key=True, autoincrement=False),
        "version": sa.Column(sa.String(20)),
        "name_": sa.Column("name", sa.String(200), nullable=False),
        "content": sa.Column(sa.Text),
        "retries": sa.Column(sa.Integer, default=0),
        "added": sa.Column(sa.DateTime, server_default=sa.func.now()),
        "expires_at": sa.Column(sa.DateTime, index=True),
        "status": sa.Column(sa.Enum(Status, name="cap_status"), nullable=False),
    }


def _spring_modulith() -> Columns:
    return {
        "__tablename__": "event_publication",
        "id": sa.Column(sa.Uuid(as_uuid=False), primary_key=True),
        "listener_id": sa.Column(sa.String(255), nullable=False),
        "event_type": sa.Column(sa.String(255), nullable=False),
        "serialized_event": sa.Column(sa.Text, nullable=False),
        "publication_date": sa.Column(sa.DateTime(timezone=True), nullable=False),
        "completion_date": sa.Column(sa.DateTime(timezone=True)),
    }


def _event_store() -> Columns:
    return {
        "id": LEFT_OUT,
        "stream": sa.Column(sa.String(100), primary_key=True),
        "position": sa.Column(sa.Integer, primary_key=True, autoincrement=False),
        "event_id": sa.Column(sa.Uuid, nullable=False, unique=True),
        "metadata_": sa.Column("metadata", sa.JSON),
        "data": sa.Column(sa.LargeBinary),
    }


#: The columns, by the systems that have them.
OUTBOXES: dict[str, Callable[[], Columns]] = {
    "Debezium": _debezium,
    "Eventuate Tram": _eventuate,
    "MassTransit": _masstransit,
    "NServiceBus": _nservicebus,
    "CAP": _cap,
    "Spring Modulith": _spring_modulith,
    "an event store": _event_store,
}


def outbox(db: SQLAlchemy, name: str) -> type[Any]:
    """Return a model that sends all of its columns."""
    columns = OUTBOXES[name]()
    names = [key for key, value in columns.items() if isinstance(value, sa.Column)]

    def message_of(signal: Any) -> str:
        return json.dumps({key: str(getattr(signal, key)) for key in names})

    def send_one(cls: type[Any], signal: Any) -> None:
        publish(message_of(signal))

    def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
        for signal in signals:
            publish(message_of(signal))

    attributes: dict[str, Any] = {
        "text": LEFT_OUT,
        **columns,
        "send_signalbus_message": classmethod(send_one),
        "send_signalbus_messages": classmethod(send_many),
        "signalbus_burst_count": 50,
    }
    return signal_model(db, **attributes)
