"""The memory of an address that is down: it rests, one message tries it, and it comes back."""

from receiver.workers.circuit_breaker import REST, THRESHOLD, CircuitBreaker


def opened() -> CircuitBreaker:
    circuit = CircuitBreaker()
    for _ in range(THRESHOLD):
        assert circuit.ready(0)
        circuit.begin()
        circuit.failed(0)
    return circuit


def test_it_opens_after_several_failures_in_a_row_and_not_before() -> None:
    circuit = CircuitBreaker()
    for _ in range(THRESHOLD - 1):
        circuit.failed(0)
    assert not circuit.is_open
    assert not circuit.succeeded()
    for _ in range(THRESHOLD - 1):
        circuit.failed(0)
    assert circuit.ready(0)
    circuit.failed(0)
    assert not circuit.ready(REST - 0.1)


def test_after_its_rest_one_message_tries_it() -> None:
    circuit = opened()
    assert circuit.ready(REST)
    circuit.begin()
    assert not circuit.ready(REST)  # the others wait for what becomes of it
    circuit.failed(REST)
    assert not circuit.ready(REST * 2 - 0.1)
    assert circuit.ready(REST * 2)
    circuit.begin()
    assert circuit.succeeded()
    assert not circuit.is_open
    assert circuit.ready(REST * 2)


def test_a_trial_that_was_not_sent_is_given_to_the_next() -> None:
    circuit = opened()
    circuit.begin()
    circuit.untried()
    assert circuit.is_open
    assert circuit.ready(REST)


def test_five_failures_are_enough() -> None:
    assert THRESHOLD == 5
