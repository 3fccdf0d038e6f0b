"""Sotopia's files on the Hugging Face hub: fetched once, then read like a local folder."""

from pathlib import Path

from sotopia_pi.formats.hub import HUB, fetched

PROFILES_SPACE = "cmu-lti/sotopia-space"
PROFILES_FOLDER = "profiles"
"""Where the published profiles lie."""


def profiles_folder(source: str | Path, endpoint: str | None = None, cache_dir: Path | None = None) -> Path:
    """The folder of profiles that `source` names: a local folder, or `hub:cmu-lti/sotopia-space` for a hub space.

    What was fetched from the hub is kept in its cache and found there without a network. endpoint: another server
    that speaks the hub's protocol; cache_dir: another cache. Raises FileNotFoundError for a local folder that is not
    there, HubUnreachable.
    """
    if str(source).startswith(HUB):
        space = str(source).removeprefix(HUB) or PROFILES_SPACE
        then = f"name its folder {PROFILES_FOLDER} in place of {HUB}{space}."
        return fetched(space, "space", [f"{PROFILES_FOLDER}/*.jsonl"], then, endpoint, cache_dir) / PROFILES_FOLDER
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder. Name a folder with environment_profiles.jsonl, agent_profiles.jsonl and the "
            f"others, or {HUB}{PROFILES_SPACE} to fetch the published ones."
        )
    return folder
