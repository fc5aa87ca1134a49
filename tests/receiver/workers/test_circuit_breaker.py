"""The memory of a channel that is down: it rests, one message tries it, and it comes back."""

from datetime import timedelta

from receiver.workers.circuit_breaker import REST, THRESHOLD, CircuitBreaker
from tests.receiver.given import START


def opened() -> CircuitBreaker:
    circuit = CircuitBreaker()
    for _ in range(THRESHOLD):
        assert circuit.wait(START) == 0
        circuit.failed(START)
    return circuit


def test_it_opens_after_several_failures_in_a_row_and_not_before() -> None:
    circuit = CircuitBreaker()
    for _ in range(THRESHOLD - 1):
        circuit.failed(START)
    assert not circuit.is_open
    circuit.succeeded()
    for _ in range(THRESHOLD - 1):
        circuit.failed(START)
    assert circuit.wait(START) == 0
    circuit.failed(START)
    assert circuit.wait(START) == REST.total_seconds()


def test_after_its_rest_one_message_tries_it() -> None:
    circuit, later = opened(), START + REST
    assert circuit.wait(later) == 0
    assert circuit.wait(later) > 0  # the others wait for what becomes of it
    circuit.failed(later)
    assert circuit.wait(later) == REST.total_seconds()
    assert circuit.wait(later + REST) == 0
    circuit.succeeded()
    assert not circuit.is_open
    assert circuit.wait(later + REST) == 0


def test_a_message_that_is_refused_is_no_fault_of_the_channel() -> None:
    circuit = opened()
    assert circuit.wait(START + REST) == 0
    circuit.refused()
    assert not circuit.is_open


def test_a_clock_that_is_set_back_does_not_lengthen_the_rest() -> None:
    assert opened().wait(START - timedelta(days=1)) == REST.total_seconds()


def test_five_failures_are_enough() -> None:
    assert THRESHOLD == 5
