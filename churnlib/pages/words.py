"""Figures as a reader takes them, rounded in one way: what is half way goes up, as browsers' scripts have it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from markupsafe import Markup, escape


def rounded(value: float, digits: int = 0) -> str:
    """Return a number with fixed digits and its thousands apart; what is half way goes away from 0.

    Python's own formatting takes it to the even neighbour, so that a page and its script would tell two numbers.

    >>> rounded(28.5), rounded(12345.675, 2), f"{28.5:.0f}"
    ('29', '12,345.68', '28')
    >>> rounded(-0.25, 1), rounded(-0.0001, 3)
    ('−0.3', '0.000')
    """
    number = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"−{-number:,}" if number < 0 else f"{abs(number):,}"


def percent(share: float) -> str:
    """Return a share for a reader.

    >>> percent(0.2347), percent(0.0005), percent(0.0), percent(0.987654)
    ('23.5 %', '<0.1 %', '0 %', '98.8 %')
    """
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{rounded(share * 100, 1)} %" if share else "0 %"


def share(value: float | None, digits: int = 1) -> str:
    """Return a share in percent with fixed digits, which no line breaks; a dash if there is none.

    >>> share(0.2857, 0).split(), share(None)
    (['29', '%'], '–')
    """
    return "–" if value is None else f"{rounded(value * 100, digits)}\u00a0%"


def signed(value: float) -> str:
    """Return a number with its sign and two digits.

    >>> signed(-0.5), signed(1.234)
    ('−0.50', '+1.23')
    """
    return f"{value:+.2f}".replace("-", "−")


def count(n: float) -> str:
    """Return a whole number with its thousands apart."""
    return rounded(n)


def figure(value: float) -> str:
    """Return a number with the digits that matter.

    >>> figure(1234.5), figure(0.01234)
    ('1,234', '0.012')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2g}" if abs(value) < 0.1 else f"{value:.4g}"


def money(amount: float, currency: str | None = None) -> str:
    """Return an amount with two digits where it is small, and its unit behind it.

    >>> money(-1234.5, "EUR"), money(12.345), money(-0.001)
    ('−1,235 EUR', '12.35', '0')
    """
    size = abs(amount)
    digits = rounded(size, 0 if size >= 100 else 2)
    sign = "−" if amount < 0 and float(digits.replace(",", "")) else ""
    digits = "0" if not float(digits.replace(",", "")) else digits
    return f"{sign}{digits} {currency}" if currency else f"{sign}{digits}"


def soft(name: str) -> Markup:
    """Return a name that may be broken after its underscores.

    >>> soft("tenure_<months>")
    Markup('tenure_<wbr>&lt;months&gt;')
    """
    return Markup(str(escape(name)).replace("_", "_<wbr>"))


__all__ = ["count", "figure", "money", "percent", "rounded", "share", "signed", "soft"]
