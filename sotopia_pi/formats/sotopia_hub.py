"""Sotopia's files on the Hugging Face hub: fetched once, then read like a local folder."""

from pathlib import Path

HUB = "hub:"
PROFILES_SPACE = "cmu-lti/sotopia-space"
PROFILES_FOLDER = "profiles"
"""Where the published profiles lie."""


class HubUnreachable(OSError):
    """The hub did not give the profiles; the message names the command that fetches them elsewhere."""


def profiles_folder(source: str | Path, endpoint: str | None = None, cache_dir: Path | None = None) -> Path:
    """The folder of profiles that `source` names: a local folder, or `hub:cmu-lti/sotopia-space` for a hub space.

    What was fetched from the hub is kept in its cache and found there without a network. endpoint: another server
    that speaks the hub's protocol; cache_dir: another cache. Raises FileNotFoundError for a local folder that is not
    there, HubUnreachable.
    """
    if str(source).startswith(HUB):
        return _fetched(str(source).removeprefix(HUB) or PROFILES_SPACE, endpoint, cache_dir)
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder. Name a folder with environment_profiles.jsonl, agent_profiles.jsonl and the "
            f"others, or {HUB}{PROFILES_SPACE} to fetch the published ones."
        )
    return folder


def _fetched(space: str, endpoint: str | None, cache_dir: Path | None) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    pattern = f"{PROFILES_FOLDER}/*.jsonl"
    try:
        root = snapshot_download(
            space, repo_type="space", allow_patterns=[pattern], endpoint=endpoint, cache_dir=cache_dir
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        raise HubUnreachable(
            f"The space {space!r} could not be fetched from the hub ({type(error).__name__}), and its profiles are not "
            f"in the hub's cache. Where there is a network, run\n"
            f'  hf download {space} --repo-type space --include "{pattern}" --local-dir sotopia-space\n'
            f"bring that folder here and name sotopia-space/{PROFILES_FOLDER} in place of {HUB}{space}."
        ) from error
    return Path(root) / PROFILES_FOLDER
