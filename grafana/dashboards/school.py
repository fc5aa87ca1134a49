"""What several dashboards ask about the school: how often something happened, seats that are taken, and revenue."""

APP = 'job="heypeter-app"'
# code -> Grafana's unit, and what people call it
CURRENCIES = {
    "EUR": ("currencyEUR", "Euros"),
    "USD": ("currencyUSD", "US dollars"),
    "GBP": ("currencyGBP", "Pounds"),
    "VND": ("currency:₫", "Dong"),
}


def counted(family: str, by: str, window: str) -> str:
    """Give how often something happened within the window before each moment, by a label."""
    return f"sum by ({by}) (increase({family}{{{APP}}}[{window}]))"


def ever(family: str, window: str) -> str:
    """Give how often something happened within the window, whatever its labels: 0 if never."""
    return f"sum(increase({family}{{{APP}}}[{window}])) or vector(0)"


def seats(by: str) -> str:
    """Give the share of the seats of the classes to come that are taken."""
    booked, offered = (f"class_seats_{name}{{{APP}}}" for name in ("booked", "capacity"))
    return f"sum{by} ({booked}) / (sum{by} ({offered}) > 0)"


def revenue(currency: str, offset: str = "") -> str:
    """Give what was received in a currency within a day."""
    return f'heypeter:payment_revenue:increase1d{{currency="{currency}"}} {offset}'.rstrip()
