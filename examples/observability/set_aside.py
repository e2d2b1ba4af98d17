"""Messages that the broker refuses for good: set aside by the sender, and replayed."""


class MessageRefused(Exception):
    """The broker is up, and does not want this message. (Yours has its own name.)"""


def make_models(db, publish):
    """Return a signal model, and the model of what was refused."""

    class RefusedMessage(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        order_id = db.Column(db.Integer, nullable=False)
        reason = db.Column(db.String(200), nullable=False)

    class OrderShipped(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        order_id = db.Column(db.Integer, nullable=False)

        @classmethod
        def send_signalbus_message(cls, signal):
            try:
                publish(signal.order_id)
            except MessageRefused as error:
                # Committed together with the deletion of the signal.
                refused = RefusedMessage(order_id=signal.order_id, reason=str(error))
                db.session.add(refused)

    return OrderShipped, RefusedMessage


def replay(db, signal_model, refused_model) -> int:
    """Record again what was refused, when the cause has been removed."""
    refused = db.session.scalars(db.select(refused_model).with_for_update()).all()
    for message in refused:
        db.session.add(signal_model(order_id=message.order_id))
        db.session.delete(message)
    db.session.commit()
    return len(refused)
