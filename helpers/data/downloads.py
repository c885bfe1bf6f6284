"""Getting files: from a web server, resumable and checked, or from the classroom's mirror."""

import hashlib
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit

import pooch
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from helpers import course
from helpers.course import CourseError
from helpers.files import kind, locked, replaced, short_hash, unreadable

CONNECT_SECONDS = 5
READ_SECONDS = 30
CHUNK_BYTES = 1 << 16
# The largest file that the course names has 1.5 GiB; a list of checksums has a few lines.
MAX_DOWNLOAD_BYTES = 4 * 2**30
MAX_LIST_BYTES = 2**20

SUMS = "SHA256SUMS"
GNU_LINE = re.compile(r"\\?([0-9a-fA-F]{64})[ \t]+\*?(\S.*?)\s*")
BSD_LINE = re.compile(r"SHA(?:2-)?256 ?\((.+)\) ?= ?([0-9a-fA-F]{64})\s*")

pooch.get_logger().setLevel("ERROR")  # it tells what the progress bar shows


def download(url: str, path: Path, *, md5: str | None = None, sha256: str | None = None) -> Path:
    """Fetch `url` into `path`, unless the right file is there already; return `path`.

    `path` is only ever a whole, checked file. What an interrupted download got is kept in the
    folder `<name>.part` beside it, and the next call goes on from there if the server still has
    the same file and can send its rest. Of two runs that fetch the same file one waits.

    Args:
        url: http or https.
        path: where to; its folder is made if missing.
        md5, sha256: hex digest the file must have; without one, any file at `path` is the right
            one.

    Raises:
        CourseError: if the host cannot be reached (noticed within about 10 seconds), answers with
            an error or a web page, sends more than MAX_DOWNLOAD_BYTES, or breaks off; if the file
            is not what its digest says (the download is discarded, an earlier file at `path`
            stays); if it cannot be written.
    """
    path = Path(path)
    known = f"sha256:{sha256}" if sha256 else f"md5:{md5}" if md5 else None
    unfinished = path.with_name(f"{path.name}.part")
    if _is_intact(path, known):
        return path
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        waiting = f"Another run downloads {path.name}, this one waits."
        with locked(path.with_name(f".{path.name}.lock"), waiting):
            if not _is_intact(path, known):  # else another run was first
                for leftover in unfinished.glob("tmp*"):  # of a run killed while it checked
                    leftover.unlink()
                for leftover in path.parent.glob(f"{path.name}.*.part"):  # as earlier versions did
                    leftover.unlink()
                whole = pooch.retrieve(url, known, path.name, unfinished, downloader=_resumed)
                Path(whole).replace(path)
            shutil.rmtree(unfinished, ignore_errors=True)
    except ValueError as error:  # pooch's, for another digest
        raise CourseError(
            f"{path.name} from {_host(url)} is altered or truncated (its digest is another) and "
            "was discarded: run again, and if that changes nothing, get it from another place."
        ) from error
    except OSError as error:
        raise CourseError(
            f"{path.name} could not be written to {path.parent} ({error.strerror}): "
            "free some disk space or choose a folder you may write to, then run again."
        ) from error
    finally:
        with suppress(OSError):  # it holds bytes to go on with
            unfinished.rmdir()
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
        CourseError: if the file cannot be read or the digest cannot be remembered.
    """
    try:
        path = Path(path).resolve()
        status = path.stat()
        identity = f"{algorithm}|{path}|{status.st_size}|{status.st_mtime_ns}"
        key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        remembered = course.data_folder() / "digests" / f"{key}.txt"
        text = remembered.read_text("ascii", "replace").strip() if remembered.is_file() else ""
        if re.fullmatch(f"[0-9a-f]{{{2 * hashlib.new(algorithm).digest_size}}}", text):
            return text
        value = pooch.file_hash(str(path), algorithm)
    except OSError as error:
        raise unreadable(path, error) from error
    with replaced(remembered) as temporary:
        temporary.write_text(value, encoding="ascii")
    return value


def mirror_file(name: str, *, md5: str | None = None) -> Path | None:
    """Return a file of the mirror that BLOODCELLS_MIRROR names, checked, on this machine.

    A mirror on a web server is downloaded into the data folder. A SHA256SUMS of the mirror must
    list the file's digest; the file must have that one or else `md5`. A mirror without a list is
    trusted with files that are known from nowhere else.

    Args:
        name: path within the mirror, such as "weights/x.h5".
        md5: hex digest of a file known from elsewhere.

    Returns:
        The file, or None if no mirror is named or it does not hold the file.

    Raises:
        CourseError: if the mirror is not there or may not be read, its SHA256SUMS does not vouch
            for the file, or the file is truncated or altered.
    """
    place = course.mirror()
    if place is None:
        return None
    if place.startswith(("http://", "https://")):
        return _from_web_mirror(place, name, md5)
    return _from_mirror_folder(Path(place), name, md5)


def public(place: str) -> str:
    """Return a URL without the user name and password it may hold, and a folder as it is."""
    return re.sub(r"(https?://)[^/?#]*@", r"\1", place)


def progress_bar(**options) -> tqdm:
    """Return a tqdm bar on stderr that shows on a terminal and in a notebook, nowhere else."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        options["disable"] = None  # tqdm: unless stderr is a terminal
    return tqdm(leave=False, mininterval=0.5, **options)


def _resumed(url: str, output_file: str, _: object) -> None:
    """Download for pooch, going on with the bytes that an earlier run left beside `output_file`.

    They are in a file `<version>.bytes`, which tells the version of the file they are from.
    """
    whole = Path(output_file)
    part = next(whole.parent.glob("*.bytes"), None)
    with _request(url, part.stat().st_size if part else 0) as response:
        if part and (response.status_code == 416 or _is_other_version(response, part)):
            part.unlink()
        else:
            _store(response, part, whole.parent)
            next(whole.parent.glob("*.bytes")).replace(whole)
            return
    _resumed(url, output_file, _)


def _request(url: str, start: int = 0) -> requests.Response:
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
    except (requests.RequestException, ValueError) as error:
        raise CourseError(
            f"{_host(url)} cannot be reached ({type(error).__name__}): "
            "check the internet connection, then run again."
        ) from error


def _is_other_version(response: requests.Response, part: Path) -> bool:
    """Return whether a server sends the rest of something else than the bytes in `part`."""
    if response.status_code != 206:
        return False
    sent = response.headers.get("Content-Range", "")
    return part.stem != _version(response) or not sent.startswith(f"bytes {part.stat().st_size}-")


def _store(response: requests.Response, part: Path | None, folder: Path) -> None:
    """Write a whole answer to the folder's one `<version>.bytes`, or a rest to the end of it."""
    name, host = folder.name.removesuffix(".part"), _host(response.url)
    if response.status_code not in (200, 206):
        raise CourseError(
            f"{host} answered {response.status_code} ({response.reason}) when asked for {name}: "
            "check the address, or run again later."
        )
    resumed = response.status_code == 206 and part is not None
    total = _total(response)
    got, chunks = 0, response.iter_content(CHUNK_BYTES)
    try:
        chunk = next(chunks, b"")
        if _is_page(response) or (not resumed and chunk.lstrip().startswith(b"<")):
            raise CourseError(
                f"{host} sent a web page instead of {name}: this network probably wants a login "
                "(a captive portal), so log in with a browser, then run again."
            )
        if not resumed:
            for other in folder.glob("*.bytes"):
                other.unlink()
            part = folder / f"{_version(response)}.bytes"
        size = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        with part.open("ab") as file, progress_bar(total=total, desc=name, **size) as bar:
            bar.update(got := file.tell())
            while chunk and got <= MAX_DOWNLOAD_BYTES:
                got += file.write(chunk)
                bar.update(len(chunk))
                chunk = next(chunks, b"")
        is_whole = total is None or got >= total
    except requests.RequestException:
        is_whole = False
    if got > MAX_DOWNLOAD_BYTES:
        part.unlink()
        raise CourseError(
            f"{host} sends more than {MAX_DOWNLOAD_BYTES >> 30} GiB as {name}, which is none of "
            "the course's files: check the address."
        )
    if not is_whole:
        of = f" of {total / 2**20:.1f}" if total is not None else ""
        raise CourseError(
            f"The download of {name} broke off after {got / 2**20:.1f}{of} MiB: "
            "run again, and it goes on from there."
        )


def _total(response: requests.Response) -> int | None:
    """Return the whole file's length, None if the server says none that can be."""
    field = "Content-Range" if response.status_code == 206 else "Content-Length"
    found = re.fullmatch(r"(?:.*/)?([0-9]{1,15})", response.headers.get(field, ""))
    return int(found[1]) if found else None


def _version(response: requests.Response) -> str:
    """Return what tells one version of a file from another."""
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    asked = (response.history or [response])[0].request.url  # a redirect may change every time
    return short_hash(asked, version, _total(response))


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or url
    except ValueError:
        return public(url)


def _is_intact(path: Path, known: str | None) -> bool:
    if kind(path) != "file":
        return False
    algorithm, _, value = (known or "").partition(":")
    return known is None or digest(path, algorithm) == value.lower()


def _from_mirror_folder(folder: Path, name: str, md5: str | None) -> Path | None:
    if kind(folder) != "folder":
        raise CourseError(
            f"BLOODCELLS_MIRROR names {folder}, where there is no folder: "
            "correct it, or unset it to use the official hosts."
        )
    path, sums = folder / name, folder / SUMS
    if kind(path) != "file":
        return None
    try:
        # A link that leads nowhere is a list too.
        content = sums.read_bytes() if kind(sums) or os.path.lexists(sums) else None
    except OSError as error:
        raise unreadable(sums, error) from error
    for algorithm, value in _expected(content, name, md5, str(sums)).items():
        if digest(path, algorithm) != value.lower():
            raise CourseError(
                f"{name} in the mirror {folder} is altered or truncated (its {algorithm} is not "
                f"{value[:12]}…): copy it there again."
            )
    return path


def _from_web_mirror(place: str, name: str, md5: str | None) -> Path | None:
    content = _web_sums(place)
    url = f"{place}/{quote(name)}"
    if (content is None or name not in _sums(content)) and not reachable(url):
        return None
    checks = _expected(content, name, md5, f"{public(place)}/{SUMS}")
    return download(url, course.data_folder() / name, **checks)


def _web_sums(place: str) -> bytes | None:
    """Return the mirror's list of checksums, None if it has none."""
    try:
        with _request(f"{place}/{SUMS}") as answer:
            content, stop = b"", time.monotonic() + READ_SECONDS
            for chunk in answer.iter_content(CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_LIST_BYTES or time.monotonic() > stop:
                    break
    except (CourseError, requests.RequestException) as error:
        raise CourseError(
            f"BLOODCELLS_MIRROR names {public(place)}, which cannot be reached: "
            "correct it, or unset it to use the official hosts."
        ) from error
    if answer.status_code == 404:
        return None
    if not answer.ok or _is_page(answer) or len(content) > MAX_LIST_BYTES:
        raise CourseError(
            f"{public(place)}/{SUMS} cannot be read (status {answer.status_code}), so nothing from "
            "this mirror can be checked: mend the mirror, or unset BLOODCELLS_MIRROR."
        )
    return content


def _expected(content: bytes | None, name: str, md5: str | None, sums: str) -> dict[str, str]:
    """Return the digest by which a file is known: the list's, if its `content` has one, or md5."""
    listed = _sums(content) if content is not None else {}
    if name in listed:
        return {"sha256": listed[name]}
    if content is None or (listed and md5):
        return {"md5": md5} if md5 else {}
    reason = f"does not list {name}" if listed else "holds no checksum that can be read"
    raise CourseError(
        f"{sums} {reason}, so the file cannot be checked: make the list again "
        f"(sha256sum FILES > {SUMS}), or remove it."
    )


def _sums(content: bytes) -> dict[str, str]:
    """Return the hex digests in a SHA256SUMS file, by path.

    Read are the lines of GNU's `sha256sum` and of BSD's (`--tag`), in UTF-8 or, as Windows
    PowerShell writes them, in UTF-16.
    """
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    listed = {}
    for line in content.decode("utf-16" if is_wide else "utf-8-sig", "replace").splitlines():
        if found := GNU_LINE.fullmatch(line):
            value, path = found.groups()
        elif found := BSD_LINE.fullmatch(line):
            path, value = found.groups()
        else:
            continue
        listed[path.replace("\\", "/").removeprefix("./")] = value.lower()
    return listed
