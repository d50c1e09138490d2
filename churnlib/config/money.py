"""Options of what a campaign costs and brings: the assumptions behind figures in money."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_range
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class MoneyConfig:
    """One offer to all customers that are contacted, as in the measures MPC, EMPC and EMPB."""

    currency: str | None = None
    """Unit of all amounts, such as EUR; figures in money are printed only where it is given."""
    value: float
    """What a saved customer brings; of customers without a value of their own."""
    column: str | None = None
    """Numeric column that says what each customer is worth, such as the monthly charges."""
    times: float
    """The column is multiplied by it: 12 where it holds a monthly amount and a saved customer stays a year."""
    offer_cost: float
    """What an accepted offer costs."""
    offer_share: float | None = None
    """What it costs as a share of the customer's value, in [0, 1]; counts instead of offer_cost."""
    contact_cost: float
    """What each contact costs."""
    alpha: float
    """A churner accepts the offer with a probability drawn from Beta(alpha, beta)."""
    beta: float
    """See alpha."""
    acceptance: float | None = None
    """A known acceptance probability, in [0, 1], instead of that distribution."""
    margin: float | None = None
    """With task=hazard: what a customer brings in a month while staying, of those without a number of their own."""
    margin_column: str | None = None
    """With task=hazard: numeric column with what each customer brings in a month; scored rows must have it."""
    discount_rate: float
    """With task=hazard: by how much money a year later is worth less, such as 0.1."""

    def __post_init__(self) -> None:
        for name in ("offer_cost", "contact_cost"):
            check_range(f"money.{name}", getattr(self, name), low=0)
        for name in ("alpha", "beta", "times"):
            check_range(f"money.{name}", getattr(self, name), low=0, open_low=True)
        check_range("money.discount_rate", self.discount_rate, low=0)
        for name in ("offer_share", "acceptance"):
            check_range(f"money.{name}", getattr(self, name), low=0, high=1)
        if self.column is not None and not self.column:
            raise ConfigError("money.column is empty; name a numeric column or leave it out")
