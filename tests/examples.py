"""How many examples a property test tries: `make test` the same few each time, `make test-slow` many new ones."""

from hypothesis import settings

# Of the profile that tests/conftest.py or --hypothesis-profile has loaded.
EXAMPLES = settings().max_examples
