"""The currencies in which the school is paid, and what was received in each."""

# code -> Grafana's unit, and what people call it
CURRENCIES = {
    "EUR": ("currencyEUR", "Euros"),
    "USD": ("currencyUSD", "US dollars"),
    "GBP": ("currencyGBP", "Pounds"),
    "VND": ("currency:₫", "Dong"),
}


def revenue(currency: str, offset: str = "") -> str:
    """Give what was received in a currency within a day."""
    return f'heypeter:payment_revenue:increase1d{{currency="{currency}"}} {offset}'.rstrip()
