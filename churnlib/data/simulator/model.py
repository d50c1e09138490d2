"""The simulated telecom company: who its customers are, and how likely each of them is to leave.

A structural model written down in full, so that the best result any method can reach on its tables is known. Each
customer is drawn in the order below, every line reading only what stands above it; ``s`` is the logistic function.

    age                   18 + 72 Beta(1.7, 2.6), whole years
    gender, region        gender by a fair coin; 60 regions, the largest about ten times the smallest
    partner, dependents   by age; dependents mostly where there is a partner
    services              phone, internet (fibre, dsl, no) and six additions; a hidden engagement makes them go together
    contract              three steps cut from a hidden commitment, which rises with engagement, family and age
    tenure                120 Beta(a, b) whole months, longer for longer contracts, never longer than adult life
    payment method        electronic checks with monthly contracts, mailed checks among the old
    tickets               Poisson with a Gamma rate (overdispersed): more for fibre and newcomers, fewer with support
    dormant               hidden: a customer who no longer uses the service
    recency               Gamma days, longer if dormant; never before the last ticket, nor before the contract
    usage, calls          log-normal GB a month, Gamma minutes; a few per cent of it if dormant
    price                 list price of the services x contract discount x log-normal(0, 0.2)
    total charges         months x today's price x an average past price level in (0.84, 1.0)
    churn                 yes with probability s(intercept + the sum of ``churn_terms``), within ``HORIZON_DAYS``

Churn reads nothing hidden: every driver stands in the table, up to the errors that ``errors.py`` adds afterwards.
No term depends on the snapshot, so there is no drift. With a treatment, given to customers at random,
``treatment_term`` is added for those who have it. The equations are the functions below, one line each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HORIZON_DAYS = 90
"""Days after the snapshot within which a churner leaves."""
TICKET_WINDOW_DAYS = 90
"""Days before the snapshot over which support tickets are counted."""
MAX_RECENCY_DAYS = 365
MAX_TENURE_MONTHS = 120

GENDERS = ("female", "male")
CONTRACTS = ("month-to-month", "one year", "two year")
INTERNET = ("fibre", "dsl", "no")
PAYMENT_METHODS = ("electronic check", "mailed check", "bank transfer", "credit card")
ADDITIONS = (
    "online_security",
    "online_backup",
    "device_protection",
    "tech_support",
    "streaming_tv",
    "streaming_movies",
)
REGIONS = tuple(
    f"{side} {place}"
    for place in (
        "Alderton", "Brackwell", "Carsholm", "Dunmere", "Elvermouth",
        "Farrowby", "Glenhurst", "Harrowdale", "Inverleck", "Kestrelford",
    )
    for side in ("North", "South", "East", "West", "Upper", "Lower")
)  # fmt: skip

MONTHLY, ONE_YEAR, TWO_YEAR = range(3)
FIBRE, DSL, NO_INTERNET = range(3)
ELECTRONIC_CHECK, MAILED_CHECK, BANK_TRANSFER, CREDIT_CARD = range(4)

_rank = np.arange(len(REGIONS))
# 23 and 17 share no factor with 60, so each formula deals every rank once and the two orders look unrelated.
_size = 1.0 / (6.0 + (23 * _rank + 11) % 60)
REGION_SHARES = _size / _size.sum()
"""Share of the customers who live in each region, ``(60,)`` float64."""
REGION_EFFECTS = 0.6 * (((17 * _rank + 5) % 60 + 0.5) / 60.0 - 0.5)
"""What living in each region adds to the logit of churn, ``(60,)`` float64 in (-0.3, 0.3)."""

LIST_PRICES = {
    "phone_service": 18.0,
    "multiple_lines": 6.0,
    "fibre": 46.0,
    "dsl": 26.0,
    "online_security": 5.0,
    "online_backup": 5.0,
    "device_protection": 6.0,
    "tech_support": 6.0,
    "streaming_tv": 11.0,
    "streaming_movies": 11.0,
}
"""What each service costs a month without a discount, in the company's currency."""
CONTRACT_DISCOUNT = np.array([1.0, 0.94, 0.88])
PRICE_SPREAD = 0.2
"""Standard deviation of the logarithm of what a customer pays over what the services would normally cost."""


@dataclass(frozen=True)
class Customers:
    """Customers as they truly are, without missing values, errors or duplicates; every array has one entry each.

    Categories are integer codes into the constants of this module; yes/no columns are bool; the rest is float64 or
    int64 in the units of the column names.
    """

    age: np.ndarray
    gender: np.ndarray
    region: np.ndarray
    partner: np.ndarray
    dependents: np.ndarray
    phone_service: np.ndarray
    multiple_lines: np.ndarray
    internet_service: np.ndarray
    additions: dict[str, np.ndarray]
    number_of_services: np.ndarray
    contract: np.ndarray
    payment_method: np.ndarray
    tenure_months: np.ndarray
    monthly_data_usage_gb: np.ndarray
    call_duration_avg_minutes: np.ndarray
    normal_charges: np.ndarray
    monthly_charges: np.ndarray
    total_charges: np.ndarray
    support_tickets: np.ndarray
    days_since_interaction: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function ``1 / (1 + exp(-x))``.

    >>> float(sigmoid(np.array(0.0)))
    0.5
    """
    return 1.0 / (1.0 + np.exp(-x))


def _services(rng: np.random.Generator, age: np.ndarray, partner: np.ndarray, engagement: np.ndarray) -> dict:
    """Draw what each customer has booked: bool per service, and the internet type as a code."""
    n = len(age)
    without = rng.random(n) < 0.06 + 0.25 * sigmoid((age - 66) / 6)
    internet = np.where(without, NO_INTERNET, np.where(rng.random(n) < 0.72 - 0.004 * age, FIBRE, DSL))
    phone = without | (rng.random(n) < 0.88)
    lean = {
        "online_security": -0.5 + 0.7 * engagement + 0.010 * (age - 45),
        "online_backup": -0.3 + 0.7 * engagement,
        "device_protection": -0.5 + 0.7 * engagement,
        "tech_support": -0.4 + 0.7 * engagement + 0.015 * (age - 45),
        "streaming_tv": 0.0 + 0.4 * engagement - 0.015 * (age - 45),
        "streaming_movies": -0.1 + 0.4 * engagement - 0.020 * (age - 45),
    }
    return {
        "phone_service": phone,
        "multiple_lines": phone & (rng.random(n) < 0.35 + 0.2 * partner),
        "internet_service": internet,
        "additions": {name: ~without & (rng.random(n) < sigmoid(lean[name])) for name in ADDITIONS},
    }


def _tenure(rng: np.random.Generator, contract: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Draw whole months since the first contract, int64 in [0, 120), none before the eighteenth birthday."""
    a = np.array([0.80, 1.30, 1.60])[contract]
    b = np.array([2.40, 2.20, 1.90])[contract]
    adult_months = 12 * (age - 18) + rng.integers(0, 12, len(age))
    return np.minimum((MAX_TENURE_MONTHS * rng.beta(a, b)).astype(np.int64), adult_months)


def _payment(rng: np.random.Generator, contract: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Draw the payment method as a code."""
    electronic = np.array([0.46, 0.24, 0.18])[contract]
    mailed = (1 - electronic) * (0.18 + 0.35 * sigmoid((age - 66) / 7))
    bank = (1 - electronic - mailed) * 0.5
    u = rng.random(len(age))
    return (u > electronic).astype(np.int64) + (u > electronic + mailed) + (u > electronic + mailed + bank)


def _recency(rng: np.random.Generator, dormant: np.ndarray, tickets: np.ndarray, tenure: np.ndarray) -> np.ndarray:
    """Draw whole days since the last interaction: no more than since the last ticket or the start."""
    n = len(tenure)
    days = rng.gamma(1.3, 34.0, n) * np.where(dormant, 3.0, 1.0)
    # The latest of k tickets, spread evenly over the window, lies min of k uniforms back: 1 - U^(1/k).
    last_ticket = TICKET_WINDOW_DAYS * (1 - rng.random(n) ** (1 / np.maximum(tickets, 1)))
    days = np.where(tickets > 0, np.minimum(days, last_ticket), days)
    return np.minimum(days, np.minimum(MAX_RECENCY_DAYS, 30 * tenure + rng.integers(0, 30, n))).astype(np.int64)


def _usage(rng: np.random.Generator, age: np.ndarray, services: dict, dormant: np.ndarray) -> np.ndarray:
    """Draw gigabytes a month, float64 with one decimal; 0 without internet."""
    internet, additions = services["internet_service"], services["additions"]
    level = np.log(95.0) + 0.45 * (internet == FIBRE) - 0.012 * (age - 45)
    level = level + 0.30 * additions["streaming_tv"] + 0.30 * additions["streaming_movies"]
    active = np.where(dormant, 0.02, 1.0) * (internet != NO_INTERNET)
    return np.round(active * np.exp(level + 0.55 * rng.standard_normal(len(age))), 1)


def list_price(services: dict) -> np.ndarray:
    """Return what the booked services cost a month without any discount, float64."""
    price = LIST_PRICES["phone_service"] * services["phone_service"]
    price = price + LIST_PRICES["multiple_lines"] * services["multiple_lines"]
    price = price + np.array([LIST_PRICES["fibre"], LIST_PRICES["dsl"], 0.0])[services["internet_service"]]
    return price + sum(LIST_PRICES[name] * services["additions"][name] for name in ADDITIONS)


def _number_of_services(services: dict) -> np.ndarray:
    booked = [services["phone_service"], services["multiple_lines"], services["internet_service"] != NO_INTERNET]
    return np.stack([*booked, *services["additions"].values()]).sum(axis=0, dtype=np.int64)


def draw_customers(rng: np.random.Generator, n: int) -> Customers:
    """Draw ``n`` customers in the order of the module's table.

    Args:
        rng: Generator that is used up in a fixed order; the same state and ``n`` give the same customers.
        n: Number of customers.
    """
    age = (18 + 72 * rng.beta(1.7, 2.6, n)).astype(np.int64)
    gender = rng.integers(0, 2, n)
    region = np.searchsorted(np.cumsum(REGION_SHARES)[:-1], rng.random(n), side="right")
    partner = rng.random(n) < 0.62 * sigmoid((age - 28) / 6)
    dependents = rng.random(n) < np.where(partner, 0.45, 0.10) * sigmoid((62 - age) / 6)
    engagement = rng.standard_normal(n)
    services = _services(rng, age, partner, engagement)
    fibre = services["internet_service"] == FIBRE
    tech_support = services["additions"]["tech_support"]

    commitment = 0.8 * engagement + 0.5 * partner + 0.3 * dependents + 0.012 * (age - 45) - 0.5 * fibre
    commitment = commitment + rng.logistic(0.0, 1.0, n)
    contract = (commitment > 0.30).astype(np.int64) + (commitment > 1.40)
    tenure = _tenure(rng, contract, age)
    payment = _payment(rng, contract, age)

    ticket_rate = np.exp(-0.40 + 0.45 * fibre - 0.40 * tech_support + 0.50 * np.exp(-tenure / 6))
    tickets = rng.poisson(ticket_rate * rng.gamma(1.1, 1 / 1.1, n))
    dormant = rng.random(n) < np.where(contract == MONTHLY, 0.12, 0.07)
    recency = _recency(rng, dormant, tickets, tenure)
    usage = _usage(rng, age, services, dormant)
    calls = rng.gamma(3.0, 1.5 + 0.02 * (age - 18), n) * np.where(dormant, 0.3, 1.0)

    normal = list_price(services) * CONTRACT_DISCOUNT[contract]
    monthly = np.round(normal * np.exp(PRICE_SPREAD * rng.standard_normal(n)), 2)
    past_level = 1.0 - 0.16 * rng.beta(1.5, 2.5, n) * tenure / (tenure + 24.0)
    return Customers(
        age=age,
        gender=gender,
        region=region,
        partner=partner,
        dependents=dependents,
        **services,
        number_of_services=_number_of_services(services),
        contract=contract,
        payment_method=payment,
        tenure_months=tenure,
        monthly_data_usage_gb=usage,
        call_duration_avg_minutes=np.round(calls * services["phone_service"], 2),
        normal_charges=normal,
        monthly_charges=monthly,
        total_charges=np.round(tenure * monthly * past_level, 2),
        support_tickets=tickets,
        days_since_interaction=recency,
    )


CHURN_INTERCEPT = -3.4
"""Logit of churn where every term is zero."""


def churn_terms(customers: Customers) -> dict[str, np.ndarray]:
    """Return what each driver adds to the logit of churn, ``(n,)`` float64 by name: the equation of the simulator.

    The first six are close to what a linear model can say; the others hold what it cannot: effects that turn round
    with the kind of line or support, effects of one contract only, thresholds and saturation.
    """
    c = customers
    monthly = c.contract == MONTHLY
    fibre, dsl = c.internet_service == FIBRE, c.internet_service == DSL
    supported = c.additions["tech_support"]
    tickets, recency, usage = c.support_tickets, c.days_since_interaction, c.monthly_data_usage_gb
    price_per_service = c.monthly_charges / c.number_of_services
    return {
        "contract": np.array([0.8, -0.3, -0.9])[c.contract],
        "payment_method": np.array([0.4, 0.0, -0.1, -0.2])[c.payment_method],
        "family": -0.1 * c.partner - 0.15 * c.dependents,
        "region": REGION_EFFECTS[c.region],
        "overpaid": 0.03 * (c.monthly_charges - c.normal_charges),
        "recency": 1.0 * (1 - np.exp(-recency / 50.0)),
        "age": 0.15 * np.tanh(((c.age - 48) / 18.0) ** 2),
        # A newcomer on a monthly contract has not settled yet; the others are bound anyway.
        "tenure": 2.1 * monthly * np.exp(-c.tenure_months / 40.0),
        # Who can leave any month compares prices.
        "price_per_service": 0.5 * monthly * np.tanh((price_per_service - 16.0) / 8.0),
        # Heavy users outgrow a slow line and cannot do without a fast one.
        "line": 1.4 * (1.0 * dsl - fibre) * np.tanh((usage - 150.0) / 160.0),
        # A problem that support solves binds, an unsolved one drives away, most of all with the costly fibre ...
        "tickets": np.tanh(tickets / 2.0) * np.where(supported, -1.0, 1.2 + 0.6 * fibre),
        # ... and beyond three of them patience ends for everybody.
        "many_tickets": 0.8 * sigmoid(1.5 * (tickets - 3.0)),
        # Paid for, hardly used, not heard of for weeks.
        "ghost": 1.4 * (fibre | dsl) * np.exp(-usage / 90.0) * sigmoid((recency - 45.0) / 25.0),
    }


def treatment_term(customers: Customers) -> np.ndarray:
    """Return what the treatment (a call with an offer) adds to the logit of churn, ``(n,)`` float64.

    It persuades those who may leave any month and those who pay much for each service, leaves those with long
    contracts nearly alone, and wakes those who have not been heard of for long: they would rather not have been called.
    """
    c = customers
    price_per_service = c.monthly_charges / c.number_of_services
    persuaded = -0.9 * (c.contract == MONTHLY) - 0.8 * sigmoid((price_per_service - 15.0) / 2.0)
    return persuaded + 1.6 * sigmoid((c.days_since_interaction - 60.0) / 12.0)


def churn_probability(customers: Customers, *more: np.ndarray) -> np.ndarray:
    """Return the true probability that each customer leaves within ``HORIZON_DAYS``, ``(n,)`` float64 in (0, 1).

    Args:
        customers: The customers.
        more: Further terms of the logit, each ``(n,)`` float64.
    """
    return sigmoid(sum(more, CHURN_INTERCEPT + np.sum(list(churn_terms(customers).values()), axis=0)))
