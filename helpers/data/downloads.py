"""Getting files: from a web server, resumable and checked, or from the classroom's mirror."""

import glob
import hashlib
import os
import re
import sys
import time
import uuid
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from helpers import course
from helpers.course import CourseError
from helpers.files import replaced

CONNECT_SECONDS = 5
READ_SECONDS = 30
CHUNK_BYTES = 1 << 16

# A running download writes, or fails, well within this time: an older part belongs to none.
ABANDONED_SECONDS = 120

SUMS = "SHA256SUMS"


def download(url: str, path: Path, *, md5: str | None = None, sha256: str | None = None) -> Path:
    """Fetch `url` into `path`, unless the right file is there already; return `path`.

    `path` is only ever a whole, checked file. What an interrupted download got is kept beside it
    (`<name>.<tag>.part`) and the next call goes on from there, if the server still has the same
    file and can send its rest. Two runs that fetch the same file write different parts.

    Args:
        url: http or https.
        path: where to; its folder is made if missing.
        md5, sha256: hex digests the file must have; without one, any file at `path` is the right
            one.

    Raises:
        CourseError: if the host cannot be reached (noticed within about 10 seconds), answers with
            an error or a web page, or breaks off; if the file is not what its digest says (the
            download is discarded, an earlier file at `path` stays); if it cannot be written.
    """
    path = Path(path)
    expected = {"md5": md5, "sha256": sha256}
    expected = {algorithm: value.lower() for algorithm, value in expected.items() if value}
    if _is_intact(path, expected):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _Part(path)
        try:
            _fetch(url, part)
            _check(part, expected, url)
            if not (expected and _is_intact(path, expected)):  # else another run was first
                part.path.replace(path)
            part.remove()
        finally:
            part.release()
    except OSError as error:
        raise CourseError(
            f"{path.name} could not be written to {path.parent} ({error.strerror}): "
            "free some disk space or choose a folder you may write to, then run again."
        ) from error
    return path


def reachable(url: str, seconds: float = 3) -> bool:
    """Return whether the file at `url` can be had, within `seconds` whatever the network does.

    A web page in the file's place (a captive portal's, say) counts as no.
    """
    answers = []

    def ask() -> None:
        try:
            response = requests.head(url, timeout=seconds, allow_redirects=True)
            if response.status_code in (403, 405, 501):  # a server may refuse this method only
                response = requests.get(url, timeout=seconds, stream=True)
                response.close()
            answers.append(response.ok and not _is_page(response))
        except (OSError, ValueError):
            answers.append(False)

    # requests cannot bound the time that looking up a name takes; a thread left behind can.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's hex digest, remembered in the data folder by its path, size and time.

    Raises:
        CourseError: if the digest cannot be remembered.
    """
    path = Path(path).resolve()
    status = path.stat()
    identity = f"{algorithm}|{path}|{status.st_size}|{status.st_mtime_ns}"
    key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    remembered = course.data_folder() / "digests" / f"{key}.txt"
    length = 2 * hashlib.new(algorithm).digest_size
    if remembered.exists():
        text = remembered.read_text(encoding="ascii", errors="replace").strip()
        if re.fullmatch(f"[0-9a-f]{{{length}}}", text):
            return text
    value = _computed_digest(path, algorithm)
    with replaced(remembered) as temporary:
        temporary.write_text(value, encoding="ascii")
    return value


def mirror_file(name: str, *, md5: str | None = None) -> Path | None:
    """Return a file of the mirror that BLOODCELLS_MIRROR names, checked, on this machine.

    A mirror on a web server is downloaded into the data folder. The file must have the digest that
    the mirror's SHA256SUMS lists or, if it lists none, `md5`.

    Args:
        name: path within the mirror, such as "weights/x.h5".
        md5: hex digest of a file known from elsewhere.

    Returns:
        The file, or None if no mirror is named or it does not hold the file.

    Raises:
        CourseError: if the mirror is not there, or the file is truncated or altered.
    """
    place = course.mirror()
    if place is None:
        return None
    if place.startswith(("http://", "https://")):
        return _from_web_mirror(place, name, md5)
    return _from_mirror_folder(Path(place), name, md5)


def progress_bar(**options) -> tqdm:
    """Return a tqdm bar on stderr that shows on a terminal and in a notebook, nowhere else."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        options["disable"] = None  # tqdm: unless stderr is a terminal
    return tqdm(leave=False, mininterval=0.5, **options)


class _Part:
    """The bytes of one unfinished download, in a file that no other run writes to.

    Left behind, the file is called `<name>.<tag>.part`. A run takes it by renaming it to
    `<name>.<tag>.<owner>.part`: of two runs that try, one succeeds, on every system. The tag tells
    which version of the file, on which server, the bytes are from.
    """

    def __init__(self, whole: Path):
        self.whole = whole
        self.owner = uuid.uuid4().hex[:8]
        self.tag = "new"
        if not any(self._take(leftover) for leftover in self._leftovers()):
            self.path.touch()

    @property
    def path(self) -> Path:
        return self.whole.with_name(f"{self.whole.name}.{self.tag}.{self.owner}.part")

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def retag(self, tag: str) -> None:
        before = self.path
        self.tag = tag
        before.rename(self.path)

    def clear(self) -> None:
        os.truncate(self.path, 0)

    def remove(self) -> None:
        """Remove these bytes, and what other runs left behind."""
        self.path.unlink(missing_ok=True)
        for leftover in self._leftovers():
            if self._take(leftover):
                self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Leave the bytes, if there are any, to the next run."""
        if not self.path.exists():
            return
        if self.size:
            self.path.replace(self.whole.with_name(f"{self.whole.name}.{self.tag}.part"))
        else:
            self.path.unlink()

    def _leftovers(self) -> list[Path]:
        return sorted(self.whole.parent.glob(f"{glob.escape(self.whole.name)}.*.part"))

    def _take(self, leftover: Path) -> bool:
        tag, *owner = leftover.name[len(self.whole.name) + 1 : -len(".part")].split(".")
        try:
            if owner and time.time() - leftover.stat().st_mtime < ABANDONED_SECONDS:
                return False
            os.utime(leftover)  # so that it does not look abandoned once it is ours
            leftover.rename(self.whole.with_name(f"{self.whole.name}.{tag}.{self.owner}.part"))
        except OSError:  # another run was first
            return False
        self.tag = tag
        return True


def _fetch(url: str, part: _Part) -> None:
    """Bring `part` to the whole file's length."""
    start = part.size
    with _request(url, start) as response:
        if start and (response.status_code == 416 or _is_other_version(response, part)):
            part.clear()
        else:
            _store(response, part)
            return
    _fetch(url, part)


def _request(url: str, start: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # else lengths and ranges count packed bytes
    if start:
        headers["Range"] = f"bytes={start}-"
    session = requests.Session()
    adapter = HTTPAdapter(max_retries=Retry(connect=1, read=0, status=0, other=0))
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException as error:
        raise CourseError(
            f"{_host(url)} cannot be reached ({type(error).__name__}): "
            "check the internet connection, then run again."
        ) from error


def _is_other_version(response: requests.Response, part: _Part) -> bool:
    """Return whether a server sends the rest of something else than the bytes in `part`."""
    if response.status_code != 206:
        return False
    sent = response.headers.get("Content-Range", "")
    return part.tag != _tag(response) or not sent.startswith(f"bytes {part.size}-")


def _store(response: requests.Response, part: _Part) -> None:
    name, host = part.whole.name, _host(response.url)
    if response.status_code not in (200, 206):
        raise CourseError(
            f"{host} answered {response.status_code} ({response.reason}) when asked for {name}: "
            "check the address, or run again later."
        )
    resumed = response.status_code == 206 and part.size > 0
    total = _total(response)
    try:
        chunks = response.iter_content(CHUNK_BYTES)
        first = next(chunks, b"")
        if _is_page(response) or (not resumed and first.lstrip().startswith(b"<")):
            raise CourseError(
                f"{host} sent a web page instead of {name}: this network probably wants a login "
                "(a captive portal), so log in with a browser, then run again."
            )
        part.retag(_tag(response))
        with (
            part.path.open("ab" if resumed else "wb") as file,
            progress_bar(
                total=total,
                initial=file.tell(),
                desc=name,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
            ) as bar,
        ):
            chunk = first
            while chunk:
                file.write(chunk)
                bar.update(len(chunk))
                chunk = next(chunks, b"")
    except requests.RequestException as error:
        raise _broken_off(part, total) from error
    if total is not None and part.size < total:
        raise _broken_off(part, total)


def _broken_off(part: _Part, total: int | None) -> CourseError:
    got = f"{part.size / 2**20:.1f}"
    of = f" of {total / 2**20:.1f}" if total is not None else ""
    return CourseError(
        f"The download of {part.whole.name} broke off after {got}{of} MiB: "
        "run again, and it goes on from there."
    )


def _total(response: requests.Response) -> int | None:
    """Return the whole file's length, None if the server does not say."""
    if response.status_code == 206:
        found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _tag(response: requests.Response) -> str:
    """Return what tells one version of a file from another."""
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    asked = (response.history or [response])[0].request.url  # a redirect may change every time
    identity = f"{asked}|{version}|{_total(response)}"
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def _host(url: str) -> str:
    return urlsplit(url).netloc or url


def _is_intact(path: Path, expected: dict[str, str]) -> bool:
    if not path.is_file():
        return False
    return all(digest(path, algorithm) == value for algorithm, value in expected.items())


def _check(part: _Part, expected: dict[str, str], url: str) -> None:
    for algorithm, value in expected.items():
        found = _computed_digest(part.path, algorithm)
        if found != value:
            part.remove()
            raise CourseError(
                f"{part.whole.name} from {_host(url)} is altered or truncated ({algorithm} "
                f"{found[:12]}… instead of {value[:12]}…) and was discarded: run again, and if "
                "that changes nothing, get the file from another place."
            )


def _computed_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _from_mirror_folder(folder: Path, name: str, md5: str | None) -> Path | None:
    if not folder.is_dir():
        raise CourseError(
            f"BLOODCELLS_MIRROR names {folder}, where there is no folder: "
            "correct it, or unset it to use the official hosts."
        )
    path, sums = folder / name, folder / SUMS
    if not path.is_file():
        return None
    listed = _sums(sums.read_text("utf-8", errors="replace")) if sums.is_file() else {}
    algorithm, expected = ("sha256", listed[name]) if name in listed else ("md5", md5)
    if expected and digest(path, algorithm) != expected:
        raise CourseError(
            f"{name} in the mirror {folder} is altered or truncated (its {algorithm} is not "
            f"{expected[:12]}…): copy it there again."
        )
    return path


def _from_web_mirror(place: str, name: str, md5: str | None) -> Path | None:
    try:
        answer = requests.get(f"{place}/{SUMS}", timeout=(CONNECT_SECONDS, READ_SECONDS))
    except requests.RequestException as error:
        raise CourseError(
            f"BLOODCELLS_MIRROR names {place}, which cannot be reached: "
            "correct it, or unset it to use the official hosts."
        ) from error
    if not (answer.ok or answer.status_code == 404) or (_is_page(answer) and answer.ok):
        raise CourseError(
            f"{place}/{SUMS} cannot be read (status {answer.status_code}), so nothing from this "
            "mirror can be checked: mend the mirror, or unset BLOODCELLS_MIRROR."
        )
    listed = _sums(answer.text) if answer.ok else {}
    url = f"{place}/{quote(name)}"
    if name not in listed and not reachable(url):
        return None
    checks = {"sha256": listed[name]} if name in listed else {"md5": md5}
    return download(url, course.data_folder() / name, **checks)


def _sums(text: str) -> dict[str, str]:
    """Return the hex digests of a SHA256SUMS file, by path."""
    lines = re.findall(r"^([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*?)\s*$", text, re.MULTILINE)
    return {path: value.lower() for value, path in lines}
