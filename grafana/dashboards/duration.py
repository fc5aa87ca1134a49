"""Quantiles of histograms."""


def quantile(share: float, buckets: str, window: str, by: str = "") -> str:
    """Return a quantile over the window; no value instead of NaN where nothing was observed."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({buckets}[{window}]))) >= 0"
