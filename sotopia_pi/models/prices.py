"""What calls cost: prices, costs, and the most a call can take before anybody has counted its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

from sotopia_pi.models.seam import Request
from sotopia_pi.store.items import canonical

TOKENS_PER_MESSAGE = 16
"""More than the role markers of a message take in any chat template in use."""
TOKENS_PER_PROMPT = 128
"""More than what chat templates in use put in front by themselves (a default system message, a date)."""

Prices = Mapping[str, tuple[float, float]]
"""Model -> (US dollars per million prompt tokens, US dollars per million completion tokens)."""


@dataclass(frozen=True)
class Cost:
    """Tokens, prompt and completion together, and US dollars."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.tokens - other.tokens, self.usd - other.usd)

    def __str__(self) -> str:
        return f"{self.tokens:,} tokens, ${self.usd:,.4f}"


@dataclass(frozen=True)
class Price:
    """US dollars per million prompt tokens and per million completion tokens, each at least 0.

    Cached prompt tokens count in full, so a cost is never told too low.
    """

    prompt: float
    completion: float

    def __post_init__(self):
        if not (self.prompt >= 0 and self.completion >= 0):
            raise ValueError(f"price {self.prompt}, {self.completion}: US dollars per million tokens are 0 or more")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Cost:
        usd = (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6
        return Cost(prompt_tokens + completion_tokens, usd)


def price_of(prices: Prices, model: str) -> Price | None:
    """The price of a model, None where the table has none: unknown is not free. Raises ValueError for a bad entry."""
    if model not in prices:
        return None
    try:
        prompt, completion = prices[model]
        return Price(float(prompt), float(completion))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"price of model {model!r} is {prices[model]!r}; give two numbers from 0: US dollars per million prompt "
            f"tokens and per million completion tokens"
        ) from error


def most_prompt_tokens(request: Request) -> int:
    """An upper bound on a request's prompt tokens, without a tokenizer: no token is shorter than a byte."""
    texts = [message.content for message in request.messages]
    texts += [canonical(request.schema)] if request.schema is not None else []
    return sum(len(text.encode()) + TOKENS_PER_MESSAGE for text in texts) + TOKENS_PER_PROMPT
