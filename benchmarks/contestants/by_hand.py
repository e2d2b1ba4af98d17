"""A loop written by hand on SQLAlchemy: the same statements on a joined session.

It shows what a session for the sender costs: no retries, no checks, no events.
"""

import datetime
import sys

from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.contestants.bare import send, send_one
from benchmarks.contestants.protocol import TABLE, serve
from swpt_pythonlib.flask_signalbus._flushable import signal_table_of
from swpt_pythonlib.flask_signalbus._sources import connection_for_bursts
from swpt_pythonlib.flask_signalbus._statements import KeyRange, statements_on


class Base(DeclarativeBase):
    pass


class Signal(Base):
    __tablename__ = TABLE

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(100))
    recorded_at: Mapped[datetime.datetime]

    send_signalbus_message = staticmethod(send_one)


def main(url: str) -> None:
    engine = create_engine(url)
    outbox = signal_table_of(Signal)
    with engine.connect() as connection:
        claims = statements_on(connection, outbox)
    session = Session()

    def flush(burst: int, pause: float) -> int:
        sent = 0
        with connection_for_bursts(engine) as connection:
            newest, statements = claims.look(connection)
            connection.rollback()
            span = newest and KeyRange(None, newest)
            while span:
                session.connection(bind_arguments={"bind": connection})
                rows = statements.claim(connection, span, burst)
                send(list(rows))
                session.commit()
                sent += len(rows)
                is_last = len(rows) < burst
                span = None if is_last else span.rest_after(outbox.key_of(rows[-1]))

        return sent

    serve(flush, ["SQLAlchemy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
