"""Files on the Hugging Face hub: fetched once, kept in its cache, and found there without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

HUB = "hub:"
"""How a source on the hub is written: `hub:OWNER/NAME`."""


class HubUnreachable(OSError):
    """The hub did not give the files; the message names the command that fetches them elsewhere."""


def fetched(
    name: str,
    kind: Literal["space", "dataset"],
    patterns: Sequence[str],
    then: str,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Folder with the files of a space or data set that match. endpoint: another server of the hub's protocol.

    then: what to do with the folder of the hub's name that the command in the message makes elsewhere. Raises
    HubUnreachable.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = {"allow_patterns": list(patterns), "endpoint": endpoint, "cache_dir": cache_dir}
    try:
        return Path(snapshot_download(name, repo_type=kind, **wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        included = " ".join(f'--include "{pattern}"' for pattern in patterns)
        raise HubUnreachable(
            f"The {kind} {name!r} could not be fetched from the hub ({type(error).__name__}), and the hub's cache does "
            f"not hold it. Where there is a network, run\n"
            f"  hf download {name} --repo-type {kind} {included} --local-dir {name.rsplit('/', 1)[-1]}\n"
            f"bring that folder here and {then}"
        ) from error
