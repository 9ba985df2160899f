"""How an operator of webhooks is turned down."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal


@dataclass(eq=False)
class WebhookEndpointNotFound(Refusal):
    code = "WebhookEndpointNotFound"
    endpoint: str

    @property
    def message(self) -> str:
        return f"no webhook endpoint {self.endpoint}"


@dataclass(eq=False)
class TooManyWebhookEndpoints(Refusal):
    """Each takes its part of the one process that delivers."""

    code = "TooManyWebhookEndpoints"
    endpoints_max: int

    @property
    def message(self) -> str:
        return f"there are {self.endpoints_max} webhook endpoints already: delete one that is not needed any more"


@dataclass(eq=False)
class WebhookTargetForbidden(Refusal):
    """Who may name a URL must not reach by it what only this machine can reach."""

    code = "WebhookTargetForbidden"
    host: str
    address: str

    @property
    def message(self) -> str:
        return f"{self.host} is at {self.address}, which is not an address of the public internet"
