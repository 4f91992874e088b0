"""Putting an export on the Hugging Face hub."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import disable_progress_bars

from data_prep.errors import PipeError, UsageError, first_line
from pipelines.report import say
from student.export_record import RECORD

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]{0,95}")
_WRITTEN = re.compile(
    r"onnx/.+|\d+_Dense[^/]*/.+|1_Pooling/config\.json"
    r"|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|found-images\.png"
    r"|(pre)?processor_config\.json|chat_template\.jinja"
)
"""What one export writes and another of the same model may lack: heads, shards, ONNX, a picture."""

_REASONS = {
    401: "the hub does not know the token; log in again with `hf auth login`",
    403: "the token may not write there; take one that may write, and a name of your own or of "
    "an organisation that you belong to",
    404: "it is not there for this token; check the name, and that the token may write",
    409: "somebody else changed it meanwhile; look at it and push again",
    412: "somebody else changed it meanwhile; look at it and push again",
    413: "the hub takes no file of that size there; ask it for more room",
    429: "the hub asks to wait; push again in some minutes",
}


@dataclass(frozen=True)
class Published:
    """What the hub has made of an export.

    Attributes:
        url: The model's page.
        revision: The commit that holds exactly these files.
    """

    url: str
    revision: str


def require_name(repo: str) -> None:
    """Check a name for a model of the hub.

    Args:
        repo: The name.

    Raises:
        UsageError: It is not of the form ``OWNER/NAME``.
    """
    if not _NAME.fullmatch(repo) or ".." in repo or "--" in repo or repo[-1] in ".-":
        raise UsageError(
            f"found the name {repo!r}, expected OWNER/NAME in letters, digits, '-', '_' and '.', "
            "such as my-name/my-student."
        )


def publish(
    directory: Path, repo: str, *, private: bool, message: str, api: HfApi | None = None
) -> Published:
    """Upload an export in one commit; files of others that lie in the repository stay there.

    What an earlier push left of another export goes in the same commit, so that no old weights
    stand beside the new ones. The files of large weights go first and are not seen until the commit
    names them, so that an upload that breaks off changes nothing, and the next one sends only what
    is missing.

    Args:
        directory: The export. It is only read.
        repo: ``OWNER/NAME``; made if it is not there.
        private: Whether only its owner may see it.
        message: The commit's.
        api: The hub's client; None takes the one that the environment describes.

    Returns:
        Where it is.

    Raises:
        PipeError: There is no token, the hub refuses or does not answer, or the repository is
            public where a private one is wanted.
    """
    api = api or HfApi()
    disable_progress_bars()
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise PipeError(
                f"{repo} is on the hub already and public, expected a private one; make it private "
                "in its settings, choose another name, or push without --private."
            )
        sent = {path.relative_to(directory).as_posix(): path for path in files}
        stale = _stale(api.list_repo_files(repo), sent)
        say(f"uploading {len(files)} files to {repo}")
        if stale:
            say(f"removing what an earlier push left there: {', '.join(stale)}")
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationDelete(name) for name in stale),
                *(CommitOperationAdd(name, path) for name, path in sent.items()),
            ],
            commit_message=message,
        )
    except PipeError:
        raise
    # The client raises errors of several libraries: its own, httpx's and the upload engine's.
    except Exception as error:
        raise PipeError(
            f"{directory} is whole, and could not be pushed to {repo}: {_reason(error)}."
        ) from None
    return Published(f"{api.endpoint}/{repo}", commit.oid)


def _stale(there: Collection[str], sent: Collection[str]) -> list[str]:
    """What an earlier export has left; nothing where this project has pushed none."""
    if RECORD not in there:
        return []
    return sorted(name for name in there if name not in sent and _WRITTEN.fullmatch(name))


def require_token() -> None:
    """Check that there is a token, before anything is exported.

    Raises:
        PipeError: There is none.
    """
    if get_token() is None:
        raise PipeError(
            "found no token for the hub, expected one that may write; log in with `hf auth login`, "
            "or set HF_TOKEN."
        )


def _reason(error: BaseException) -> str:
    """What went wrong, and what to do; never with a header of the request."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set; unset it"
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            status = cause.response.status_code
            does = _REASONS.get(status, "push again later")
            said = (cause.server_message or "").strip().splitlines()
            return f"{does} (HTTP {status}{f', {said[0]}' if said else ''})"
        cause = cause.__cause__
    return f"{first_line(error)}; check the network, and push again"
