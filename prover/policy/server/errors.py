"""What can go wrong with a server. Each message says what was asked, what came back and what to do."""

from prover.policy.base import PolicyError


class ServerPolicyError(PolicyError):
    """The server cannot be used."""


class ServerUnavailableError(ServerPolicyError):
    """The server did not answer, after all that the settings allow of retries and waiting."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """status: of HTTP, where something answered."""
        super().__init__(message)
        self.status = status


class ContextTooLongError(ServerPolicyError):
    """One prompt does not fit the server's context. It concerns one state; the search goes on."""


class RequestRefusedError(ServerPolicyError):
    """The server understood a request and refuses it (HTTP 4xx)."""

    def __init__(self, message: str, status: int, words: str) -> None:
        super().__init__(message)
        self.status, self.words = status, words
