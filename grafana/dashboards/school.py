"""Queries about the school that several dashboards share: event counts, booked seats and revenue."""

APP = 'job="heypeter-app"'
# currency code -> Grafana's unit, name
CURRENCIES = {
    "EUR": ("currencyEUR", "Euros"),
    "USD": ("currencyUSD", "US dollars"),
    "GBP": ("currencyGBP", "Pounds"),
    "VND": ("currency:₫", "Dong"),
}


def counted(family: str, by: str, window: str) -> str:
    """Return how often something happened within the window, by a label; whole, for increase() extrapolates."""
    return f"round(sum by ({by}) (increase({family}{{{APP}}}[{window}])))"


def ever(family: str, window: str) -> str:
    """Return how often something happened within the window, over all labels; 0 if never."""
    return f"round(sum(increase({family}{{{APP}}}[{window}]))) or vector(0)"


def seats(by: str) -> str:
    """Return the share of seats booked in upcoming classes. Each exporter of several shows the same gauges."""
    booked, offered = (f"max by (class_type) (class_seats_{name}{{{APP}}})" for name in ("booked", "capacity"))
    return f"sum{by} ({booked}) / (sum{by} ({offered}) > 0)"


def revenue(currency: str, offset: str = "") -> str:
    """Return the revenue of the last 24 hours in a currency."""
    return f'heypeter:payment_revenue:increase1d{{currency="{currency}"}} {offset}'.rstrip()
