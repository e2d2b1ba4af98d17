"""What is broken on purpose, and by which checks it has to be caught."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from conformance import broken_models, broken_senders, buses
from conformance.applications import LEFT_OUT, signal_model


@dataclass(frozen=True)
class Specimen:
    """A model or a bus that is broken in one way.

    :param caught_by: The checks that fail, where the database has what they need.
    :param model: Makes the model.
    :param bus: The bus, if it is not the real one.
    :param requires: What the database has to be capable of for it.
    """

    name: str
    caught_by: frozenset[str]
    model: Callable[[SQLAlchemy], type[Any]] = signal_model
    bus: type[buses.HonestBus] | None = None
    requires: tuple[str, ...] = ()


def specimen(name: str, *caught_by: str, **parts: Any) -> Specimen:
    return Specimen(name, frozenset(f"check_{check}" for check in caught_by), **parts)


def with_attributes(name: str, *caught_by: str, **attributes: Any) -> Specimen:
    """Make a specimen of a model that differs from a healthy one in attributes.

    :param attributes: A column is given as a ``partial``: it belongs to one table, so
        each model needs a new one.
    """

    def model(db: SQLAlchemy) -> type[Any]:
        made = {
            key: value() if isinstance(value, partial) else value
            for key, value in attributes.items()
        }
        return signal_model(db, **made)

    return specimen(name, *caught_by, model=model)


def with_bus(bus: type[buses.HonestBus], *caught_by: str, **parts: Any) -> Specimen:
    return specimen(bus.__name__, *caught_by, bus=bus, **parts)


def with_sender(sender: Callable[..., Any], *caught_by: str) -> Specimen:
    name = "send_signalbus_message"
    if "signals" in sender.__code__.co_varnames:
        name = "send_signalbus_messages"
    return with_attributes(sender.__name__, *caught_by, **{name: classmethod(sender)})


STATIC = (
    specimen(
        "no table",
        "has_own_table_and_primary_key",
        model=broken_models.without_a_table,
    ),
    specimen(
        "two tables",
        "has_own_table_and_primary_key",
        model=broken_models.in_two_tables,
    ),
    specimen(
        "no primary key",
        "has_own_table_and_primary_key",
        model=broken_models.without_a_primary_key,
    ),
    with_bus(
        buses.ListsDirectSubclassesOnly,
        "is_discovered",
        model=broken_models.below_another_base,
    ),
    with_attributes(
        "an instance method",
        "send_method_is_classmethod",
        send_signalbus_message=lambda self: None,
    ),
    with_sender(broken_senders.takes_two_arguments, "send_method_is_classmethod"),
    with_sender(broken_senders.is_a_coroutine, "send_method_is_not_lazy"),
    with_sender(broken_senders.is_a_generator, "send_method_is_not_lazy"),
    with_sender(broken_senders.is_an_async_generator, "send_method_is_not_lazy"),
    *(
        with_attributes(
            f"burst count {count!r}",
            "burst_count_is_positive_int",
            signalbus_burst_count=count,
        )
        for count in (0, -1, True, "5", 2.0, None)
    ),
    *(
        with_attributes(
            f"attribute {name!r}",
            "column_names_are_readable",
            **{name: partial(sa.Column, "renamed", sa.Integer)},
        )
        for name in ("t", "tuple", "_mapping", "_fields", "_asdict", "_data")
    ),
    specimen(
        "a foreign key",
        "no_foreign_key_blocks_deletion",
        model=broken_models.with_a_blocking_reference,
    ),
    with_attributes(
        "a cascade",
        "deletion_takes_no_other_signals",
        cause=partial(broken_models.cascading_column),
    ),
    *(
        with_attributes(
            f"primary key {column_type!r}",
            "primary_key_type_is_exact",
            id=partial(sa.Column, column_type, primary_key=True),
        )
        for column_type in (
            sa.Float(24),
            sa.Double(),
            sa.Numeric(10, 2, asdecimal=False),
            broken_models.Wrapped(),
        )
    ),
    *(
        with_attributes(
            f"moment {name!r}", "created_at_is_a_moment", signalbus_created_at=name
        )
        for name in ("nothing", "id", 5)
    ),
)

TABLES = (
    specimen(
        "a view",
        "rights_suffice",
        "flush_walks_an_index",
        model=broken_models.behind_a_view,
    ),
    specimen(
        "a table without a key",
        "flush_walks_an_index",
        model=broken_models.without_a_key_in_the_database,
    ),
    specimen(
        "a deferred foreign key",
        "no_deferred_foreign_key",
        model=broken_models.with_a_deferred_reference,
        requires=("deferred_keys",),
    ),
    specimen(
        "a storage engine without transactions",
        "table_has_transactions",
        model=broken_models.without_transactions,
        requires=("storage_engines",),
    ),
)

BUSES = (
    specimen(
        "sends on insert",
        "nothing_is_sent_before_flush",
        "rolled_back_rows_are_never_sent",
        "row_recorded_during_flush_is_not_lost",
        model=broken_models.sending_on_insert,
    ),
    specimen(
        "a key that changes on its way",
        "rolled_back_rows_are_never_sent",
        "flush_sends_each_row_once_and_returns_the_count",
        "flush_empties_the_table",
        "primary_key_round_trip",
        "burst_is_bounded_and_batch_is_used",
        "full_burst",
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "failed_delete_is_reported",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
        model=broken_models.with_a_careless_key,
        bus=buses.HonestBus,
    ),
    with_bus(
        buses.SendsTwice,
        "rolled_back_rows_are_never_sent",
        "flush_sends_each_row_once_and_returns_the_count",
        "full_burst",
        "failed_delete_is_reported",
        "earlier_bursts_are_committed",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.CountsNothing,
        "rolled_back_rows_are_never_sent",
        "flush_sends_each_row_once_and_returns_the_count",
        "full_burst",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.ForgetsTheLast,
        "rolled_back_rows_are_never_sent",
        "flush_sends_each_row_once_and_returns_the_count",
        "flush_empties_the_table",
        "full_burst",
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "failed_delete_is_reported",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.DeletesNothing,
        "flush_sends_each_row_once_and_returns_the_count",
        "flush_empties_the_table",
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "failed_delete_is_reported",
        "earlier_bursts_are_committed",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.NeverEnds,
        "rolled_back_rows_are_never_sent",
        "flush_sends_each_row_once_and_returns_the_count",
        "flush_empties_the_table",
        "object_has_every_column",
        "object_works_detached",
        "burst_is_bounded_and_batch_is_used",
        "full_burst",
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "failed_delete_is_reported",
        "earlier_bursts_are_committed",
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.SendsColumnNames,
        "object_has_every_column",
        "object_works_detached",
        model=broken_models.with_a_renamed_column,
    ),
    with_bus(
        buses.SendsInstances,
        "flush_sends_each_row_once_and_returns_the_count",
        "object_has_every_column",
        "object_works_detached",
        "full_burst",
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "failed_delete_is_reported",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.IgnoresBurstCount,
        "burst_is_bounded_and_batch_is_used",
        "earlier_bursts_are_committed",
        "two_flushers_share_the_work",
    ),
    with_bus(
        buses.NeverSendsInBulk, "burst_is_bounded_and_batch_is_used", "full_burst"
    ),
    with_bus(buses.CannotHoldMany, "full_burst"),
    with_bus(
        buses.CommitsWhatFailed,
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
    ),
    with_bus(
        buses.StopsAtTheFirstFailure,
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
    ),
    with_bus(
        buses.WrapsErrors,
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "failed_delete_is_reported",
    ),
    with_bus(
        buses.SwallowsErrors,
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "failed_delete_is_reported",
    ),
    with_bus(buses.IsolatesBulkFailuresOnly, "single_failure_at_each_position"),
    with_bus(buses.GivesUpTheBurst, "batch_failure_at_each_position"),
    with_bus(buses.GoesOnAfterInterrupts, "interrupt_keeps_rows"),
    with_bus(buses.CommitsAtInterrupts, "interrupt_keeps_rows"),
    with_bus(buses.IgnoresRefusedDeletions, "failed_delete_is_reported"),
    with_bus(buses.SendsBeforeDeleting, "failed_delete_is_reported"),
    with_bus(
        buses.CommitsBeforeSending,
        "single_failure_at_each_position",
        "batch_failure_at_each_position",
        "interrupt_keeps_rows",
        "earlier_bursts_are_committed",
    ),
    with_bus(buses.CommitsOnceAtTheEnd, "earlier_bursts_are_committed"),
    with_bus(
        buses.TruncatesTheTable,
        "row_recorded_during_flush_is_not_lost",
        "two_flushers_share_the_work",
    ),
    with_bus(buses.WaitsForLockedRows, "two_flushers_share_the_work"),
    with_bus(
        buses.LocksNothing,
        "failed_delete_is_reported",
        "two_flushers_share_the_work",
        "two_flushers_lose_nothing",
    ),
    with_bus(
        buses.FlushesEverything,
        "other_models_are_untouched",
        model=broken_models.with_a_neighbour,
    ),
)

SENDERS = (
    with_sender(
        broken_senders.sends_nothing,
        "one_accepted_message_per_row",
    ),
    with_sender(
        broken_senders.sends_twice,
        "one_accepted_message_per_row",
        "batch_equals_single",
    ),
    with_sender(broken_senders.swallows_errors, "single_send_propagates_broker_errors"),
    with_sender(
        broken_senders.swallows_the_last_error,
        "batch_send_propagates_errors_at_each_position",
    ),
    with_sender(broken_senders.sends_something_else, "batch_equals_single"),
    with_sender(broken_senders.iterates_twice, "batch_accepts_any_iterable"),
    with_sender(broken_senders.calls_a_method, "send_needs_columns_only"),
    with_sender(broken_senders.reads_what_the_class_has, "send_method_reads_columns"),
    with_sender(broken_senders.commits, "send_does_not_end_the_flushing_transaction"),
    with_sender(
        broken_senders.closes_the_session, "send_does_not_end_the_flushing_transaction"
    ),
    with_sender(broken_senders.queries, "send_emits_no_sql"),
    with_sender(
        broken_senders.knows_one_error_only, "single_send_propagates_broker_errors"
    ),
    with_sender(
        broken_senders.asks_for_no_confirmation, "one_accepted_message_per_row"
    ),
    with_sender(broken_senders.exits, "send_needs_columns_only"),
    with_sender(broken_senders.returns_a_coroutine, "send_needs_columns_only"),
    with_sender(
        broken_senders.drops_the_remainder,
        "one_accepted_message_per_row",
        "batch_equals_single",
        "send_is_silent_about_order",
    ),
    with_sender(
        broken_senders.tries_forever,
        "single_send_propagates_broker_errors",
        "real_flush_takes_back_writes",
    ),
    with_sender(broken_senders.exits_when_refused, "real_flush_keeps_what_is_refused"),
    with_sender(broken_senders.names_copies, "real_flush_keeps_what_is_refused"),
    with_sender(broken_senders.reaches_for_the_network, "send_needs_columns_only"),
    with_sender(
        broken_senders.waits_for_the_flush,
        "real_flush_sends_and_deletes",
        "send_emits_no_sql",
    ),
    with_sender(
        broken_senders.names_the_wrong_ones, "real_flush_keeps_what_is_refused"
    ),
    specimen(
        "writes that are committed elsewhere",
        "real_flush_takes_back_writes",
        model=broken_models.noting_elsewhere,
    ),
    with_attributes(
        "NULL is not expected",
        "send_copes_with_null",
        note=partial(sa.Column, sa.String(20)),
        send_signalbus_message=classmethod(broken_senders.reads_what_may_be_null),
        send_signalbus_messages=LEFT_OUT,
    ),
    with_sender(broken_senders.insists_on_the_order, "send_is_silent_about_order"),
)
