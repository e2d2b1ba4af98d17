"""A trace that goes on where the signal is sent, with OpenTelemetry."""

from opentelemetry import propagate, trace

tracer = trace.get_tracer("shop")


def current_trace() -> str | None:
    """Return the trace of the request; the default of a column of the signal."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def span_of(signal):
    """Return the span in which a sender sends a signal.

    ::

        class OrderPlaced(db.Model):
            id = db.Column(db.Integer, primary_key=True)
            trace = db.Column(db.String(55), default=current_trace)

            @classmethod
            def send_signalbus_message(cls, signal):
                with span_of(signal):
                    publish(signal.id)
    """
    context = propagate.extract({"traceparent": signal.trace or ""})
    return tracer.start_as_current_span(
        "send signal", context, kind=trace.SpanKind.PRODUCER
    )
