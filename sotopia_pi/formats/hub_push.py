"""Sending a folder to the Hugging Face hub: one repository, one commit where the hub allows it, errors in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

TOKEN = "HF_TOKEN"
"""The environment variable that the token is read from, and no other place."""
ENDPOINT = "HF_ENDPOINT"
"""The environment variable that may name another server of the hub's protocol."""
Kind = Literal["model", "dataset"]


class PushFailed(OSError):
    """The hub did not take what was sent; the message says what it said, what is there now and what to do."""


@dataclass(frozen=True)
class Pushed:
    """What came of a push. commit: of the repository after it; address: where the hub shows it."""

    commit: str
    address: str


def checked_repository(name: str) -> str:
    """OWNER/NAME as the hub allows it. Raises ValueError that says what is allowed."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    allowed = "OWNER/NAME of letters, digits and . _ - (96 characters at most, no -- and no ..)"
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name!r} names no repository of the hub; allowed: {allowed}") from error
    if name.count("/") != 1:
        raise ValueError(f"{name!r} lacks its owner; allowed: {allowed}")
    return name


def push_folder(
    folder: Path, repository: str, kind: Kind, message: str, public: bool = False, update: bool = False
) -> Pushed:
    """Create a repository and send everything in a folder to it.

    public: a new repository is private otherwise. update: commit onto a repository that is there already; without it,
    one that exists is left alone. Raises PushFailed.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=os.environ.get(ENDPOINT) or None, token=_token())
    with _in_words(repository, "Nothing was sent."):
        api.create_repo(repository, repo_type=kind, private=not public, exist_ok=update)
    with _in_words(repository, "The repository is there; the same command with --update goes on."):
        done = api.upload_folder(repo_id=repository, folder_path=folder, repo_type=kind, commit_message=message)
    return Pushed(done.oid, done.commit_url)


def _token() -> str:
    """Raises PushFailed where the environment holds none."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise PushFailed(
            f"The environment variable {TOKEN} is not set, and nothing was sent. Make a token with write access in "
            f"your settings on the hub and export it; it is read from nowhere else."
        )
    return token


@contextmanager
def _in_words(repository: str, after: str) -> Iterator[None]:
    """Turns what the hub's client raises into PushFailed. after: how things stand by then."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PushFailed(f"HF_HUB_OFFLINE is set; unset it to push. {after}") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        cause = next((one for one in (error, error.__cause__) if isinstance(one, HfHubHTTPError)), None)
        what = _refusal(cause, repository) if cause else f"{type(error).__name__}: {_scrubbed(error)}"
        raise PushFailed(f"Sending to {repository} failed. {what} {after}") from None


def _refusal(error: "HfHubHTTPError", repository: str) -> str:
    status = error.response.status_code if error.response is not None else None
    told = _scrubbed(error.server_message or "").strip()
    match status:
        case 401:
            what = f"The hub does not accept the token in {TOKEN}; is it whole, and not revoked?"
        case 403:
            what = f"The token in {TOKEN} may not write to {repository}; it takes write access to its owner's space."
        case 404:
            what = f"The hub knows no {repository}, or the token in {TOKEN} may not see it."
        case 409:
            what = f"{repository} exists already: give --update to commit onto it, or another name with --to."
        case _:
            what = f"The hub answered {status} for {repository}."
    return f"{what} It said: {told.rstrip('.')}." if told else what


def _scrubbed(error: object) -> str:
    """What an error says, without the token should it hold it."""
    token = os.environ.get(TOKEN, "").strip()
    text = str(error)
    return text.replace(token, "...") if token else text
